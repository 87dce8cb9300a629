package hostile

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/grpclog"

	"github.com/enclavepool/enclavepool/breaker"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
	"github.com/enclavepool/enclavepool/pool"
)

const (
	// callers is how many callers the healthy enclave has, each making a call every pause; victims call the hostile
	// one, without pause as long as it answers well.
	callers = 8
	pause   = 16 * time.Millisecond
	victims = 4
	// goodDeadline and evilDeadline are what the calls have.
	goodDeadline = 5 * time.Second
	evilDeadline = 300 * time.Millisecond
)

// Calls are what became of the calls to one enclave.
type Calls struct {
	Took   []time.Duration // of each
	Failed int
	// Failure is one error, LongestError the length of the longest text of one.
	Failure      error
	LongestError int
	LongestOwn   int // of those that are the pool's own
}

// traffic is callers under way.
type traffic struct {
	end  context.CancelFunc
	done sync.WaitGroup
	mu   sync.Mutex
	made Calls
}

func callGood(p *pool.Pool) *traffic { return call(p, good, callers, pause, goodDeadline) }

func callEvil(p *pool.Pool, id string) *traffic {
	return call(p, id, victims, 5*time.Millisecond, evilDeadline)
}

func call(p *pool.Pool, id string, n int, pause, deadline time.Duration) *traffic {
	ctx, end := context.WithCancel(context.Background())
	t := &traffic{end: end}
	client := signerv1.NewSignerServiceClient(p.Conn(id))
	for i := range n {
		t.done.Go(func() {
			tick := time.NewTicker(pause)
			defer tick.Stop()
			sleep(ctx, pause*time.Duration(i)/time.Duration(n))
			for ctx.Err() == nil {
				t.one(client, deadline)
				select {
				case <-tick.C:
				case <-ctx.Done():
				}
			}
		})
	}
	return t
}

func (t *traffic) one(client signerv1.SignerServiceClient, deadline time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	began := time.Now()
	_, err := client.Create(ctx, &signerv1.CreateRequest{KeyId: "k", Algorithm: signerv1.Algorithm_ALGORITHM_ED25519})
	took := time.Since(began)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.made.Took = append(t.made.Took, took)
	if err != nil {
		t.made.Failed++
		t.made.Failure = err
		t.made.LongestError = max(t.made.LongestError, len(err.Error()))
		var own *pool.Error
		if errors.As(err, &own) {
			t.made.LongestOwn = max(t.made.LongestOwn, len(err.Error()))
		}
	}
}

// stop ends the callers, waits for their calls, and returns what became of all.
func (t *traffic) stop() Calls {
	t.end()
	t.done.Wait()
	return t.made
}

// Looks are what was seen of a hostile enclave by a subscriber to the pool's events.
type Looks struct {
	Admitted int           // connections that were in rotation
	Out      time.Duration // from the first that was to the first that was no more; 0: none
	Left     bool          // after that there was a moment with none
}

// looker follows the hostile enclaves by their events.
type looker struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	mu     sync.Mutex
	seen   map[string]Looks
}

func watch(p *pool.Pool) *looker {
	ctx, cancel := context.WithCancel(context.Background())
	l := &looker{cancel: cancel, seen: map[string]Looks{}}
	l.done.Go(func() {
		first := map[string]time.Time{}
		for ev := range p.Events(ctx) {
			s := l.of(ev.EnclaveID)
			switch {
			case ev.Conn < 0:
				s.Left = s.Left || s.Admitted > 0 && ev.To != breaker.Healthy
			case ev.To == breaker.Healthy:
				if s.Admitted++; s.Admitted == 1 {
					first[ev.EnclaveID] = ev.At
				}
			case s.Admitted > 0 && s.Out == 0:
				s.Out = max(ev.At.Sub(first[ev.EnclaveID]), 1)
			}
			l.mu.Lock()
			l.seen[ev.EnclaveID] = s
			l.mu.Unlock()
		}
	})
	return l
}

// of is what was seen of an enclave so far.
func (l *looker) of(id string) Looks {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen[id]
}

func (l *looker) stop() {
	l.cancel()
	l.done.Wait()
}

// heapWatch finds the greatest growth of the heap.
type heapWatch struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	base   uint64
	most   uint64
}

// watchHeap measures from now on. What counts is all that is allocated and not yet swept, stacks included.
func watchHeap() *heapWatch {
	runtime.GC()
	ctx, cancel := context.WithCancel(context.Background())
	h := &heapWatch{cancel: cancel, base: inUse()}
	h.done.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			h.most = max(h.most, inUse())
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return h
}

func inUse() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64() + s[1].Value.Uint64()
}

func (h *heapWatch) stop() int64 {
	h.cancel()
	h.done.Wait()
	return int64(h.most) - int64(h.base)
}

// lineCounter is a log, of which it keeps the measure: text as it is written, by enclave.
type lineCounter struct {
	mu    sync.Mutex
	lines map[string]int
	all   logged
}

// logged is the measure of a log.
type logged struct {
	lines, longest int
	forged         bool
}

func (l *lineCounter) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// grpcLog counts what gRPC writes to its own log, which goes to stderr unless somebody sets another.
var grpcLog lineCounter

func init() { grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, &grpcLog)) }

// Write takes one line.
func (l *lineCounter) Write(b []byte) (int, error) {
	line := string(b)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lines == nil {
		l.lines = map[string]int{}
	}
	l.lines[""]++
	if _, rest, ok := strings.Cut(line, "enclave_id="); ok {
		id, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
		l.lines[id]++
	}
	l.all.longest = max(l.all.longest, len(line))
	// An escape sequence, or a line that the enclave has begun.
	l.all.forged = l.all.forged || strings.ContainsAny(line, "\x1b\x00\r") || strings.Count(line, "\n") != 1
	return len(b), nil
}

// of is the measure of all lines, and the number of those about an enclave; "": of all.
func (l *lineCounter) of(id string) logged {
	l.mu.Lock()
	defer l.mu.Unlock()
	return logged{l.lines[id], l.all.longest, l.all.forged}
}
