package enclave

import (
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

// inForce is the faults in force, with what is asked on every call worked out beforehand.
type inForce struct {
	Faults
	quiet bool // no fault acts on calls
}

// Faults returns the faults in force.
func (s *Server) Faults() Faults { return s.faults.Load().Faults }

// SetFaults puts f in force in place of what was. The error names every field that is not valid, and
// then nothing has changed.
func (s *Server) SetFaults(f Faults) error {
	f = f.withDefaults()
	if err := f.validate(s.opts.MaxConcurrentStreams); err != nil {
		return err
	}
	s.setting.Lock()
	defer s.setting.Unlock()
	s.apply(f)
	return nil
}

// PatchFaults changes the faults that patch, a JSON object, names, and leaves the others. The error
// names every field that is unknown or not valid, and then nothing has changed.
func (s *Server) PatchFaults(patch []byte) (Faults, error) {
	s.setting.Lock()
	defer s.setting.Unlock()
	f, err := s.Faults().patched(patch)
	if err == nil {
		err = f.validate(s.opts.MaxConcurrentStreams)
	}
	if err != nil {
		return s.Faults(), err
	}
	s.apply(f)
	return f, nil
}

// apply puts valid faults in force. Its callers hold setting, New apart.
func (s *Server) apply(f Faults) {
	next := &inForce{Faults: f, quiet: f.DropEveryCalls == 0 && f.StallFraction == 0 && f.ResetFraction == 0 &&
		f.RefuseFraction == 0 && (f.Delay == 0 || f.DelayFraction == 0)}
	last := s.faults.Swap(next)
	status := healthpb.HealthCheckResponse_SERVING
	if f.NotServing {
		status = healthpb.HealthCheckResponse_NOT_SERVING
	}
	s.health.SetServingStatus("", status)
	s.health.SetServingStatus(signerv1.SignerService_ServiceDesc.ServiceName, status)
	if last == nil {
		return
	}
	if last.MaxConcurrentStreams != f.MaxConcurrentStreams {
		frame := streamLimitFrame(s.streamLimit())
		for _, c := range s.open() {
			c.outQueue.put(frame)
			go c.flush() // a peer that reads nothing must not hold up the others
		}
	}
	s.opts.Logger.Info("faults switched", "faults", f)
}

// streamLimit is the stream limit to advertise now.
func (s *Server) streamLimit() uint32 {
	if n := s.faults.Load().MaxConcurrentStreams; n != 0 {
		return n
	}
	return s.opts.MaxConcurrentStreams
}

// firstBytes returns what a connection is begun with in place of p, the transport's own beginning. A
// limit that changes just then follows in a SETTINGS frame of its own: the connection is listed already.
func (s *Server) firstBytes(p []byte) []byte {
	b, ok := withStreamLimit(p, s.streamLimit())
	if !ok {
		s.opts.Logger.Warn("the stream limit of a new connection could not be set")
	}
	return b
}

// DropConns abruptly closes n of the open connections, or all of them when n is 0 or less or more than
// there are, and returns how many it closed.
func (s *Server) DropConns(n int) int {
	conns := s.open()
	if n > 0 && n < len(conns) {
		conns = conns[:n]
	}
	for _, c := range conns {
		s.dropConn(c, "on request")
	}
	return len(conns)
}

func (s *Server) dropConn(c *conn, why string) {
	s.count.dropped.Add(1)
	c.drop()
	s.opts.Logger.Info("connection dropped", "why", why, "peer", c.RemoteAddr().String())
}
