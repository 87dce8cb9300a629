package pool

// StreamStats is a snapshot of the warm streams to one enclave.
type StreamStats struct {
	// Open counts the streams, Idle those of them that nobody has, Busy those
	// in callers' hands. Every one holds a slot, so each is in
	// EnclaveStats.InFlight too.
	Open, Idle, Busy int
	// Waiters counts the callers who wait: for one of the streams or, in the
	// pool's queue, for a slot to open one with; the latter are in
	// EnclaveStats.Waiters too.
	Waiters int
	// Opened counts the streams ever opened, Retired those closed or lost
	// again, Exchanges the requests sent on them, repetitions included.
	Opened, Retired, Exchanges uint64
}

// Stats returns a snapshot by enclave ID. It takes a lock per enclave for an
// instant.
func (ss *Streams[Req, Res]) Stats() map[string]StreamStats {
	out := map[string]StreamStats{}
	ss.mu.Lock()
	sets := ss.sets
	ss.mu.Unlock()
	for _, t := range sets {
		out[t.e.id] = t.stats()
	}
	return out
}

func (t *warmSet) stats() StreamStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := StreamStats{
		Open: len(*t.all.Load()), Idle: len(t.idle), Waiters: t.line.n,
		Opened: t.opened, Retired: t.retired, Exchanges: t.exchanges(),
	}
	s.Busy = s.Open - s.Idle
	return s
}
