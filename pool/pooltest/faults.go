package pooltest

import "google.golang.org/grpc/health/grpc_health_v1"

// Stop ends the enclave as kill -9 does: the listener and every connection are
// closed at once, with nothing said to the peers, and the socket's file is
// gone. The contexts of handlers end; Stop does not wait for them. Stopping a
// stopped enclave does nothing.
func (e *Enclave) Stop() {
	r := e.take()
	if r == nil {
		return
	}
	r.kill()
	e.ending.Add(1)
	go func() {
		defer e.ending.Done()
		r.srv.Stop() // returns when every handler has
	}()
}

// GracefulStop ends the enclave the polite way: no new connection or call is
// accepted, the peers are told by GOAWAY, and it returns when the calls in
// flight are over and the connections closed, or somebody calls Stop. Do not call it while frozen: nobody could be told.
func (e *Enclave) GracefulStop() {
	r := e.current()
	if r == nil {
		return
	}
	r.srv.GracefulStop()
	if e.current() == r {
		e.Stop()
	}
}

// Restart makes the enclave listen again on the same target, with a new server
// that has no connections and is not frozen; one that runs is stopped first.
// When the target cannot be listened on, the test fails.
func (e *Enclave) Restart() {
	e.tb.Helper()
	e.Stop()
	e.start()
}

// DropConns closes up to n connections abruptly, oldest first, and returns how
// many there were to close. The enclave goes on to listen.
func (e *Enclave) DropConns(n int) int {
	if r := e.current(); r != nil {
		return r.drop(n)
	}
	return 0
}

// Freeze stops the enclave as SIGSTOP does: no byte is read or written and no
// connection is accepted, while the operating system still completes connects
// and fills its buffers. What is being written at that moment may still go
// out. Handlers run on until they need the network. Freezing a frozen or
// stopped enclave does nothing.
func (e *Enclave) Freeze() {
	if r := e.current(); r != nil {
		r.gate.shut()
	}
}

// Thaw ends Freeze. Thawing an enclave that is not frozen does nothing.
func (e *Enclave) Thaw() {
	if r := e.current(); r != nil {
		r.gate.open()
	}
}

// SetServing sets what the health service says of the whole server: SERVING,
// as at the start, or NOT_SERVING. It outlasts a Restart.
func (e *Enclave) SetServing(serving bool) {
	s := grpc_health_v1.HealthCheckResponse_NOT_SERVING
	if serving {
		s = grpc_health_v1.HealthCheckResponse_SERVING
	}
	e.health.SetServingStatus("", s)
}

// Conns returns how many connections are open on the enclave's side.
func (e *Enclave) Conns() int {
	if r := e.current(); r != nil {
		return r.connCount()
	}
	return 0
}

// Accepted returns how many connections were accepted since the enclave was
// made, Restarts included.
func (e *Enclave) Accepted() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.accepted
	if e.run != nil {
		n += e.run.acceptedCount()
	}
	return n
}
