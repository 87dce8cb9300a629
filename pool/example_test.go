package pool_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/pool"
)

// The examples' enclave serves gRPC's own test service; with your proto,
// grpc_testing.NewTestServiceClient is your generated constructor.

func ExampleNew() {
	target, stop := startEnclave(&signer{}) // "unix:/run/signer.sock"; yours may be "vsock:16:5000"
	defer stop()

	cfg := pool.DefaultConfig()
	cfg.Enclaves = []pool.Enclave{{ID: "signer-a", Target: target}}
	p, err := pool.New(cfg, quiet)
	if err != nil {
		log.Fatal(err) // every bad setting at once
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	defer p.Close(ctx)
	if err := p.Ready(ctx); err != nil {
		log.Fatal(err) // which enclave is missing, and why
	}

	client := grpc_testing.NewTestServiceClient(p.Conn("signer-a"))
	reply, err := client.UnaryCall(ctx, digest("invoice 7"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", reply.Payload.Body)
	// Output: signature of invoice 7
}

func ExampleDefaultConfig() {
	cfg := pool.DefaultConfig()
	fmt.Println("connections to each enclave:", cfg.MinConns, "to", cfg.MaxConns)
	fmt.Println("streams on each connection:", cfg.MaxConcurrentStreams)
	fmt.Println("deadline of a call that brings none:", cfg.RequestTimeout)
	fmt.Println("keepalive:", cfg.Keepalive.Time, cfg.Keepalive.Timeout)
	// Output:
	// connections to each enclave: 16 to 32
	// streams on each connection: 100
	// deadline of a call that brings none: 5s
	// keepalive: 30s 10s
}

func ExampleConfig_Validate() {
	cfg := pool.DefaultConfig()
	cfg.MinConns = 64 // more than MaxConns
	cfg.DialTimeout = 0
	cfg.Enclaves = []pool.Enclave{{ID: "signer-a", Target: "vsock:16"}} // no port

	// Of one thing that is wrong errors.As is enough; this lists them all.
	if all, ok := cfg.Validate().(interface{ Unwrap() []error }); ok {
		for _, err := range all.Unwrap() {
			var bad *pool.FieldError
			if errors.As(err, &bad) {
				fmt.Println(bad.Field, "is", bad.Value)
			}
		}
	}
	// Output:
	// MaxConns is 32
	// DialTimeout is 0s
	// Enclaves[0].Target is vsock:16
}

func ExamplePool_Ready() {
	target, stop := startEnclave(&signer{})
	defer stop()
	cfg := exampleConfig()
	cfg.Enclaves = []pool.Enclave{
		{ID: "signer-a", Target: "unix:/run/nobody-listens.sock"},
		{ID: "signer-b", Target: target},
	}
	p, err := pool.New(cfg, quiet)
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close(context.Background())

	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	var missing *pool.Error
	if errors.As(p.Ready(ctx), &missing) {
		fmt.Println("not ready:", missing.EnclaveID)
	}
	// Output: not ready: signer-a
}

func ExamplePool_Conn() {
	p, stop := startPool()
	defer stop()
	client := grpc_testing.NewTestServiceClient(p.Conn("a")) // one for all, or one a request: it costs nothing

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	reply, err := client.UnaryCall(ctx, digest("invoice 7"))
	fmt.Printf("%s, %v\n", reply.GetPayload().GetBody(), err)

	_, err = grpc_testing.NewTestServiceClient(p.Conn("b")).UnaryCall(ctx, digest("invoice 8"))
	fmt.Println(errors.Is(err, pool.ErrUnknownEnclave), status.Code(err))
	// Output:
	// signature of invoice 7, <nil>
	// true NotFound
}

func ExamplePool_Acquire() {
	p, stop := startPool()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()

	// Waits for a slot before anything is worked out for the call, which makes
	// overload cheap.
	lease, err := p.Acquire(ctx, "a")
	if err != nil {
		log.Fatal(err)
	}
	defer p.Release(lease)
	reply, err := grpc_testing.NewTestServiceClient(lease).UnaryCall(ctx, digest("invoice 7"))
	fmt.Printf("%s, %v\n", reply.GetPayload().GetBody(), err)
	// Output: signature of invoice 7, <nil>
}

func ExampleLease() {
	p, stop := startPool()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	lease, err := p.Acquire(ctx, "a")
	if err != nil {
		log.Fatal(err)
	}
	client := grpc_testing.NewTestServiceClient(lease)

	stream, err := client.FullDuplexCall(ctx)
	if err != nil {
		log.Fatal(err)
	}
	_, err = client.UnaryCall(ctx, digest("invoice 7"))
	fmt.Println("a second call at the same time:", errors.Is(err, pool.ErrLeaseBusy))
	if err := stream.CloseSend(); err != nil {
		log.Fatal(err)
	}
	_, err = stream.Recv()
	fmt.Println("the stream's end:", err)
	_, err = client.UnaryCall(ctx, digest("invoice 7"))
	fmt.Println("a call after it:", err)

	lease.Release()
	lease.Release() // does nothing
	_, err = client.UnaryCall(ctx, digest("invoice 7"))
	fmt.Println("a call after Release:", errors.Is(err, pool.ErrLeaseReleased))
	// Output:
	// a second call at the same time: true
	// the stream's end: EOF
	// a call after it: <nil>
	// a call after Release: true
}

func ExamplePool_Stats() {
	p, stop := startPool()
	defer stop()
	lease, err := p.Acquire(context.Background(), "a")
	if err != nil {
		log.Fatal(err)
	}
	defer lease.Release()

	for id, e := range p.Stats().Enclaves {
		fmt.Printf("%s is %v: %d connections, %d of %d slots in use, %d waiting\n",
			id, e.State, e.HealthyConns, e.InFlight, e.Capacity, e.Waiters)
	}
	// Output: a is healthy: 4 connections, 1 of 400 slots in use, 0 waiting
}

// An enclave is replaced and no call is cut: those in flight finish first, and
// new ones get ErrDraining, to be made elsewhere or again later.
func ExamplePool_Drain() {
	p, stop := startPool()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()

	if err := p.Drain(ctx, "a"); err != nil {
		log.Fatal(err) // what is left; the drain goes on
	}
	e := p.Stats().Enclaves["a"]
	fmt.Println(e.State, e.InFlight, "in flight")

	// Replace the enclave; then:
	if err := p.Resume("a"); err != nil {
		log.Fatal(err)
	}
	if err := p.Ready(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(p.Stats().Enclaves["a"].State)
	// Output:
	// draining 0 in flight
	// healthy
}

func ExamplePool_Resize() {
	p, stop := startPool()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()

	if err := p.Resize("a", 6, 12); err != nil {
		log.Fatal(err)
	}
	if err := p.Ready(ctx); err != nil { // only if it matters when they are there
		log.Fatal(err)
	}
	fmt.Println(p.Stats().Enclaves["a"].HealthyConns, "connections")
	fmt.Println("0 to 12:", errors.Is(p.Resize("a", 0, 12), pool.ErrConfig))
	// Output:
	// 6 connections
	// 0 to 12: true
}

func ExamplePool_Close() {
	p, stop := startPool()
	defer stop()

	// After the gateway's own server has stopped; the calls in flight have 5s.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	fmt.Println("cut:", p.Close(ctx))

	_, err := p.Acquire(ctx, "a")
	fmt.Println(errors.Is(err, pool.ErrClosed))
	// Output:
	// cut: <nil>
	// true
}

func ExampleError() {
	p, stop := startPool()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := p.Drain(ctx, "a"); err != nil {
		log.Fatal(err)
	}

	_, err := grpc_testing.NewTestServiceClient(p.Conn("a")).UnaryCall(ctx, digest("invoice 7"))
	fmt.Println(errors.Is(err, pool.ErrDraining), status.Code(err))
	var e *pool.Error
	if errors.As(err, &e) {
		notProcessed := e.Disposition == pool.NotSent || e.Disposition == pool.Refused
		fmt.Printf("enclave %s, safe to repeat: %v, after %v\n", e.EnclaveID, notProcessed, e.RetryAfter)
	}
	// Output:
	// true Unavailable
	// enclave a, safe to repeat: true, after 200ms
}

// A gateway's handler returns the pool's error as it is, and the gateway's own
// client finds in its status what to do.
func ExampleError_GRPCStatus() {
	handler := func() error {
		return &pool.Error{EnclaveID: "a", Reason: pool.ErrExhausted, RetryAfter: 50 * time.Millisecond}
	}
	st := status.Convert(handler())
	fmt.Println(st.Code())
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			fmt.Println("retry after", info.RetryDelay.AsDuration())
		}
	}
	// Output:
	// ResourceExhausted
	// retry after 50ms
}
