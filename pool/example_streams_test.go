package pool_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/enclavepool/enclavepool/pool"
)

// openDuplex opens the RPC that the examples keep warm; yours calls your own
// generated client.
func openDuplex(ctx context.Context, cc grpc.ClientConnInterface) (grpc.BidiStreamingClient[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse], error) {
	return grpc_testing.NewTestServiceClient(cc).FullDuplexCall(ctx)
}

func ExampleNewStreams() {
	p, stop := startPool()
	defer stop()
	streams := pool.NewStreams(p, openDuplex,
		pool.WithMinStreams(8),                     // open from the start
		pool.WithMaxStreams(600),                   // 500 callers at a time, and some room
		pool.WithStreamIdleTimeout(10*time.Second), // back to 8 soon after a burst
		pool.WithMaxExchanges(100_000),             // a stream for a while, not for ever
		pool.WithIdempotent(),                      // signing twice does no harm
	)

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	reply, err := streams.Exchange(ctx, "a", message("invoice 7"))
	fmt.Printf("%s, %v\n", reply.GetPayload().GetBody(), err)
	// Output: invoice 7, <nil>
}

func ExampleStreams_Exchange() {
	p, stop := startPool()
	defer stop()
	streams := pool.NewStreams(p, openDuplex)

	// One stream each: a slow exchange delays nobody else.
	for _, text := range []string{"invoice 7", "invoice 8"} {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		reply, err := streams.Exchange(ctx, "a", message(text))
		cancel()
		fmt.Printf("%s, %v\n", reply.GetPayload().GetBody(), err)
	}
	// Output:
	// invoice 7, <nil>
	// invoice 8, <nil>
}

func ExampleStreams_Acquire() {
	p, stop := startPool()
	defer stop()
	streams := pool.NewStreams(p, openDuplex)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()

	// Several requests in a row, with no wait between them.
	s, err := streams.Acquire(ctx, "a")
	if err != nil {
		log.Fatal(err)
	}
	defer s.Release()
	for _, text := range []string{"page 1", "page 2"} {
		reply, err := s.Exchange(ctx, message(text))
		fmt.Printf("%s, %v\n", reply.GetPayload().GetBody(), err)
	}
	// Output:
	// page 1, <nil>
	// page 2, <nil>
}

func ExampleStream_Exchange() {
	p, stop := startPool()
	defer stop()
	streams := pool.NewStreams(p, openDuplex)
	s, err := streams.Acquire(context.Background(), "a")
	if err != nil {
		log.Fatal(err)
	}
	defer s.Release()

	// Without a deadline it has Config.RequestTimeout; the stream goes on.
	reply, err := s.Exchange(context.Background(), message("invoice 7"))
	fmt.Printf("%s from %s, %v\n", reply.GetPayload().GetBody(), s.EnclaveID(), err)
	// Output: invoice 7 from a, <nil>
}

func ExampleStreams_Stats() {
	p, stop := startPool()
	defer stop()
	streams := pool.NewStreams(p, openDuplex, pool.WithMinStreams(0))
	s, err := streams.Acquire(context.Background(), "a")
	if err != nil {
		log.Fatal(err)
	}

	st := streams.Stats()["a"]
	fmt.Println(st.Open, "open,", st.Busy, "busy,", st.Idle, "idle")
	s.Release()
	st = streams.Stats()["a"]
	fmt.Println(st.Open, "open,", st.Busy, "busy,", st.Idle, "idle")
	// Output:
	// 1 open, 1 busy, 0 idle
	// 1 open, 0 busy, 1 idle
}

func ExampleStreams_Close() {
	p, stop := startPool()
	defer stop()
	streams := pool.NewStreams(p, openDuplex)

	// The exchanges in flight have 5s; the pool goes on without the streams.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	fmt.Println("reset:", streams.Close(ctx))
	// Output: reset: <nil>
}
