package statuspage_test

import (
	"context"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/statuspage"
)

// The page has a listener of its own, which only operators reach.
func ExampleNew() {
	cfg := pool.DefaultConfig()
	cfg.Enclaves = []pool.Enclave{{ID: "signer-a", Target: "vsock:16:5000"}}
	p, err := pool.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close(context.Background())

	page := statuspage.New(p, statuspage.WithTitle("Gateway 1"))
	defer page.Close()
	mux := http.NewServeMux()
	mux.Handle("/debug/pool", page) // any path will do, and no other is used
	server := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second}
	lis, err := net.Listen("tcp", "127.0.0.1:6060")
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(server.Serve(lis))
}
