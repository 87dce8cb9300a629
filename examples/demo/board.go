package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/load"
)

// sampleEvery is how often the gateway's metrics are read.
const sampleEvery = 100 * time.Millisecond

// board shows the load as it goes. It is safe for concurrent use.
type board struct {
	out   *screen
	start time.Time

	mu    sync.Mutex
	name  string                   // of the phase
	last  map[string]load.Interval // by enclave
	conns map[string]int           // by enclave
}

func newBoard(out *screen) *board {
	return &board{out: out, start: time.Now(), last: make(map[string]load.Interval)}
}

// phase begins another phase.
func (b *board) phase(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.name = name
}

// interval takes what the load on one enclave reports.
func (b *board) interval(id string, i load.Interval) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last[id] = i
	if len(b.last) == len(enclaveIDs) {
		b.out.status(b.text())
	}
}

// text is the board on one line of less than 80 columns. Its callers hold mu.
func (b *board) text() string {
	text := fmt.Sprintf("%6.1fs  %-7s", time.Since(b.start).Seconds(), b.name)
	var slowest time.Duration
	var conns []string
	for _, id := range enclaveIDs {
		i := b.last[id]
		text += fmt.Sprintf(" %s %6s/s ", id[len(id)-1:], number(uint64(i.Throughput())))
		slowest = max(slowest, i.Latency.P99)
		conns = append(conns, fmt.Sprint(b.conns[id]))
	}
	return text + fmt.Sprintf(" p99 %-7s conns %s", short(slowest), strings.Join(conns, "/"))
}

// sample reads the gateway's active_conns now and then, and once more when the function it returns is called.
func (p *player) sample(ctx context.Context) (stop func()) {
	read := func() {
		m, err := p.st.Gateway.Metrics(ctx)
		if err != nil {
			return // the last reading is checked to be recent
		}
		c := connsAt{At: time.Since(p.start), Conns: make(map[string]int)}
		for _, id := range enclaveIDs {
			c.Conns[id] = m.ActiveConns(id)
		}
		p.r.Conns = append(p.r.Conns, c)
		p.board.mu.Lock()
		p.board.conns = c.Conns
		p.board.mu.Unlock()
	}
	read()
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				read()
			case <-end:
				read()
				return
			}
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}
