package enclave

import (
	"sync"
	"sync/atomic"
)

// queue holds frames that wait for a frame boundary.
type queue struct {
	mu     sync.Mutex
	frames []byte
	any    atomic.Bool
}

func (q *queue) put(frame []byte) {
	q.mu.Lock()
	q.frames = append(q.frames, frame...)
	q.any.Store(true)
	q.mu.Unlock()
}

func (q *queue) take() []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	frames := q.frames
	q.frames = nil
	q.any.Store(false)
	return frames
}
