package main

import (
	"log/slog"

	"github.com/enclavepool/enclavepool/examples/internal/gateway"
)

// debugging is the status page, where one was asked for.
type debugging struct {
	said string // where it is, for the line on stdout
	wait func() // until Shutdown has ended it
}

// serveDebug serves the status page at the address; empty: nowhere. That it fails later on is logged and ends nothing.
func serveDebug(g *gateway.Gateway, address string, log *slog.Logger) (debugging, error) {
	if address == "" {
		return debugging{wait: func() {}}, nil
	}
	lis, err := gateway.Listen(address)
	if err != nil {
		return debugging{}, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := g.ServeDebug(lis); err != nil {
			log.Error("the status page has ended", "err", err)
		}
	}()
	return debugging{said: ", debug on " + where(address, lis), wait: func() { <-done }}, nil
}
