package pool_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

var (
	simSeed  = flag.Uint64("sim.seed", 0, "replay the simulation of this seed alone")
	simSeeds = flag.Int("sim.seeds", 3, "how many simulations to run, of seeds 1, 2, …")
	simTime  = flag.Duration("sim.time", 24*time.Hour, "virtual time of each simulation")
	simLie   = flag.Uint64("sim.lie", 0, "for the test of the simulation itself: break an invariant in the simulation of this seed")
)

// TestTheInvariantsHoldThroughADayOfRandomFaults composes faults at random for
// 24 virtual hours and checks what must always be true. When something is not,
// it names the seed; run it again with -sim.seed. A run of many:
//
//	go test ./pool -run RandomFaults -sim.seeds 200 -timeout 2h
func TestTheInvariantsHoldThroughADayOfRandomFaults(t *testing.T) {
	first, last := uint64(1), uint64(*simSeeds)
	if *simSeed != 0 {
		first, last = *simSeed, *simSeed
	}
	for seed := first; seed <= last; seed++ {
		ok := t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newSimulation(t, seed).run(*simTime) })
		})
		if !ok {
			t.Fatalf("replay with: go test ./pool -run RandomFaults -sim.seed %d -sim.time %v", seed, *simTime)
		}
	}
}

// simulation is two enclaves, a pool, callers, and somebody who breaks things.
type simulation struct {
	t        *testing.T
	rng      *rand.Rand
	pool     *pool.Pool
	enclaves map[string]*simEnclave
	ids      []string
	start    time.Time
	calls    sync.WaitGroup
	faults   []string // what was done since the last time that all was well
	// goroutines is how many there are when all is well.
	goroutines int
	lies       bool // every hundredth call is counted twice

	mu       sync.Mutex
	executed map[string]int // handler runs by call ID
	results  map[string]error
	lastID   int
	tally    struct{ calls, failed, faults int }
}

type simEnclave struct {
	*pooltest.Enclave
	stopped bool
}

const simConns = 3

func newSimulation(t *testing.T, seed uint64) *simulation {
	s := &simulation{
		t: t, rng: rand.New(rand.NewPCG(seed, 0)), ids: []string{"a", "b"}, start: time.Now(),
		enclaves: map[string]*simEnclave{}, executed: map[string]int{}, results: map[string]error{},
	}
	cfg := pool.DefaultConfig()
	cfg.MinConns, cfg.MaxConns, cfg.MaxConcurrentStreams, cfg.MaxWaiters = simConns, simConns+2, 3, 50
	cfg.Health.Interval = time.Minute // a day of probes every second takes too long
	cfg.MaxConnAge = 3 * time.Hour
	s.lies = seed == *simLie
	svc := &service{seen: s.count}
	var dialled []*pooltest.Enclave
	for _, id := range s.ids {
		e := pooltest.NewMemory(t, svc.register)
		s.enclaves[id] = &simEnclave{Enclave: e}
		dialled = append(dialled, e)
		cfg.Enclaves = append(cfg.Enclaves, pool.Enclave{ID: id, Target: e.Target()})
	}
	p, err := pool.New(cfg, pool.WithDialer(pooltest.DialerFor(dialled...)), pool.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))))
	if err != nil {
		t.Fatal(err)
	}
	s.pool = p
	return s
}

// count is called by the enclaves' handlers.
func (s *simulation) count(ctx context.Context) {
	if id := metadata.ValueFromIncomingContext(ctx, "x-id"); len(id) > 0 {
		s.mu.Lock()
		s.executed[id[0]]++
		if s.lies && strings.HasSuffix(id[0], "00") {
			s.executed[id[0]]++
		}
		s.mu.Unlock()
	}
}

func (s *simulation) run(length time.Duration) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var watching sync.WaitGroup
	watching.Go(func() { s.watch(ctx) })
	s.mend()
	for time.Since(s.start) < length && !s.t.Failed() {
		for range 1 + s.rng.IntN(8) {
			s.fault()
			s.load(s.rng.IntN(12))
			s.pause()
			s.check()
		}
		s.mend()
	}
	cancel()
	watching.Wait()
	ctx, cancel = context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	if err := s.pool.Close(ctx); err != nil {
		s.t.Errorf("Close: %v", err)
	}
	s.t.Logf("%d faults, %d calls, %d of them failed", s.tally.faults, s.tally.calls, s.tally.failed)
}

// pause is from a microsecond to ten seconds, evenly over the magnitudes, since
// what is interesting happens at all of them.
func (s *simulation) pause() {
	time.Sleep(time.Duration(float64(time.Microsecond) * pow10(s.rng.Float64()*7)))
}

func pow10(x float64) float64 {
	p := 1.0
	for ; x >= 1; x-- {
		p *= 10
	}
	return p * (1 + 9*x)
}

// fault breaks something, or mends it in the middle of other faults.
func (s *simulation) fault() {
	id := s.ids[s.rng.IntN(len(s.ids))]
	e := s.enclaves[id]
	var what string
	switch s.rng.IntN(13) {
	case 0:
		what = "stop"
		e.Stop()
		e.stopped = true
	case 1:
		what = "restart"
		e.Restart()
		e.stopped = false
	case 2:
		what = "restart in a moment"
		e.Stop()
		time.Sleep(time.Duration(s.rng.Int64N(int64(time.Second))))
		e.Restart()
		e.stopped = false
	case 3, 4:
		n := 1 + s.rng.IntN(simConns)
		what = fmt.Sprintf("drop %d", n)
		e.DropConns(n)
	case 5:
		what = "freeze"
		e.Freeze()
	case 6:
		what = "thaw"
		e.Thaw()
	case 7:
		what = "not serving"
		e.SetServing(false)
	case 8:
		what = "serving"
		e.SetServing(true)
	case 9:
		what = "drain"
		ctx, cancel := context.WithTimeout(s.t.Context(), time.Duration(s.rng.Int64N(int64(time.Second))))
		if err := s.pool.Drain(ctx, id); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			s.t.Errorf("Drain: %v", err)
		}
		cancel()
	case 10:
		what = "resume"
		if err := s.pool.Resume(id); err != nil {
			s.t.Errorf("Resume: %v", err)
		}
	case 11:
		least := 1 + s.rng.IntN(simConns+1)
		most := least + s.rng.IntN(3)
		what = fmt.Sprintf("resize to %d–%d", least, most)
		if err := s.pool.Resize(id, least, most); err != nil {
			s.t.Errorf("Resize: %v", err)
		}
	case 12:
		what = "cordon"
		if err := s.pool.Cordon(id); err != nil {
			s.t.Errorf("Cordon: %v", err)
		}
	}
	s.tally.faults++
	s.faults = append(s.faults, fmt.Sprintf("%v %s: %s", time.Since(s.start), id, what))
}

// load makes n calls, which go on by themselves.
func (s *simulation) load(n int) {
	for range n {
		id := s.ids[s.rng.IntN(len(s.ids))]
		timeout := time.Duration(float64(time.Millisecond) * pow10(s.rng.Float64()*3.5))
		s.lastID++
		call := fmt.Sprint(s.lastID)
		s.calls.Go(func() { s.call(id, call, timeout) })
	}
}

// call makes one call.
func (s *simulation) call(enclaveID, call string, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(s.t.Context(), timeout)
	defer cancel()
	start := time.Now()
	ctx = metadata.AppendToOutgoingContext(ctx, "x-id", call)
	_, err := client(s.pool, enclaveID).UnaryCall(ctx, &grpc_testing.SimpleRequest{Payload: body(32)})
	if took := time.Since(start); took > timeout+100*time.Millisecond {
		s.t.Errorf("call %s with %v to live took %v", call, timeout, took)
	}
	s.mu.Lock()
	s.results[call] = err
	s.mu.Unlock()
}

// settle compares what the pool said of the calls with what happened to them.
func (s *simulation) settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for call, err := range s.results {
		s.tally.calls++
		if err != nil {
			s.tally.failed++
		}
		runs := s.executed[call]
		var pe *pool.Error
		switch {
		case runs > 1:
			s.t.Errorf("call %s was executed %d times (%v)", call, runs, err)
		case err == nil && runs != 1:
			s.t.Errorf("call %s succeeded and was executed %d times", call, runs)
		case errors.As(err, &pe) && (pe.Disposition == pool.NotSent || pe.Disposition == pool.Refused) && runs != 0:
			s.t.Errorf("call %s was executed, but failed with %v: %v", call, pe.Disposition, err)
		}
	}
	clear(s.results)
	clear(s.executed)
}

// check is what holds at any time.
func (s *simulation) check() {
	for id, st := range s.pool.Stats().Enclaves {
		used := 0
		for _, c := range st.Connections {
			used += c.InFlight
			// A limit that the pool has lowered (a drain, a ramp) evicts nobody.
			if c.InFlight > 3 {
				s.t.Errorf("enclave %s, connection %d: %d streams", id, c.Index, c.InFlight)
			}
		}
		if st.HealthyConns > st.MaxConns || st.Waiters > 50 {
			s.t.Errorf("enclave %s: %+v", id, st)
		}
	}
}

// mend ends all faults and expects everything to be well soon after.
func (s *simulation) mend() {
	for _, id := range s.ids {
		e := s.enclaves[id]
		if e.stopped {
			e.Restart()
			e.stopped = false
		}
		e.Thaw()
		e.SetServing(true)
		err := errors.Join(s.pool.Resume(id), s.pool.Uncordon(id), s.pool.Resize(id, simConns, simConns+2))
		if err != nil {
			s.t.Error(err)
		}
	}
	s.calls.Wait()
	// The longest rest is 8 cooldowns; a freeze that began just now may be seen
	// only by the next probes.
	time.Sleep(2 * time.Minute)
	synctest.Wait()
	s.settle()
	for _, id := range s.ids {
		st := stats(s.pool, id)
		if st.State != breaker.Healthy || st.HealthyConns < simConns || st.InFlight != 0 || st.Waiters != 0 || st.Capacity != 3*st.HealthyConns {
			s.t.Errorf("all is mended, but enclave %s: %+v\nafter %s", id, st, strings.Join(s.faults, "\n      "))
		}
		ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
		if _, err := client(s.pool, id).UnaryCall(ctx, &grpc_testing.SimpleRequest{}); err != nil {
			s.t.Errorf("all is mended, but a call fails: %v", err)
		}
		cancel()
	}
	// Each connection has a handful on both sides.
	switch n := runtime.NumGoroutine(); {
	case s.goroutines == 0:
		s.goroutines = n
	case n > s.goroutines+2*2*15:
		s.t.Errorf("%d goroutines, at first %d", n, s.goroutines)
	}
	s.faults = nil
	time.Sleep(time.Duration(s.rng.Int64N(int64(20 * time.Minute))))
}

// watch checks the order of events.
func (s *simulation) watch(ctx context.Context) {
	seq := map[string]uint64{}
	for ev := range s.pool.Events(ctx) {
		if ev.Seq <= seq[ev.EnclaveID] {
			s.t.Errorf("event %+v after Seq %d", ev, seq[ev.EnclaveID])
		}
		seq[ev.EnclaveID] = ev.Seq
	}
}
