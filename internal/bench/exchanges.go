package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

// exchangeSize is that of a digest.
const exchangeSize = 32

// An exchanger sends the digest, gets it back and checks that. It is one
// caller's.
type exchanger func(ctx context.Context) error

// exchangeWay is a way to carry digests.
type exchangeWay struct {
	name string
	from *server
	// open prepares it for so many callers.
	open func(ctx context.Context, callers int) ([]exchanger, error)
}

// digest is what the caller sends, unlike what any other does.
func digest(caller int) []byte {
	d := bytes.Repeat([]byte{0x5a}, exchangeSize)
	binary.BigEndian.PutUint64(d, uint64(caller))
	return d
}

func echoed(sent, got []byte) error {
	if !bytes.Equal(sent, got) {
		return fmt.Errorf("sent %x, got %x", sent, got)
	}
	return nil
}

// viaUnary makes a call for each digest on the one ClientConn.
func viaUnary(cc grpc.ClientConnInterface) func(context.Context, int) ([]exchanger, error) {
	client := testpb.NewTestServiceClient(cc)
	return func(_ context.Context, callers int) ([]exchanger, error) {
		return each(callers, func(caller int) (exchanger, error) {
			req := &testpb.SimpleRequest{Payload: &testpb.Payload{Body: digest(caller)}}
			return func(ctx context.Context) error {
				res, err := client.UnaryCall(ctx, req)
				if err != nil {
					return err
				}
				return echoed(req.Payload.Body, res.GetPayload().GetBody())
			}, nil
		})
	}
}

// viaOwnStreams gives each caller a stream of gRPC's, over all connections.
func viaOwnStreams(ccs []grpc.ClientConnInterface) func(context.Context, int) ([]exchanger, error) {
	return func(ctx context.Context, callers int) ([]exchanger, error) {
		return each(callers, func(caller int) (exchanger, error) {
			s, err := pooltest.OpenExchange(ctx, ccs[caller%len(ccs)])
			if err != nil {
				return nil, err
			}
			req := &wrapperspb.BytesValue{Value: digest(caller)}
			return func(context.Context) error {
				if err := s.Send(req); err != nil {
					return err
				}
				res, err := s.Recv()
				if err != nil {
					return err
				}
				return echoed(req.Value, res.GetValue())
			}, nil
		})
	}
}

// viaWarmStreams is what this is about.
func viaWarmStreams(ss *pool.Streams[wrapperspb.BytesValue, wrapperspb.BytesValue]) func(context.Context, int) ([]exchanger, error) {
	return func(_ context.Context, callers int) ([]exchanger, error) {
		return each(callers, func(caller int) (exchanger, error) {
			req := &wrapperspb.BytesValue{Value: digest(caller)}
			return func(ctx context.Context) error {
				res, err := ss.Exchange(ctx, enclaveID, req)
				if err != nil {
					return err
				}
				return echoed(req.Value, res.GetValue())
			}, nil
		})
	}
}

// viaSockets gives each caller a Unix socket, and nothing else.
func viaSockets(target string) func(context.Context, int) ([]exchanger, error) {
	return func(ctx context.Context, callers int) ([]exchanger, error) {
		return each(callers, func(caller int) (exchanger, error) {
			c, err := new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(target, "unix:"))
			if err != nil {
				return nil, err
			}
			context.AfterFunc(ctx, func() { c.Close() })
			sent, got := digest(caller), make([]byte, exchangeSize)
			return func(context.Context) error {
				if _, err := c.Write(sent); err != nil {
					return err
				}
				if _, err := io.ReadFull(c, got); err != nil {
					return err
				}
				return echoed(sent, got)
			}, nil
		})
	}
}

func each(callers int, make func(caller int) (exchanger, error)) ([]exchanger, error) {
	var all []exchanger
	for i := range callers {
		x, err := make(i)
		if err != nil {
			return nil, fmt.Errorf("caller %d of %d: %w", i+1, callers, err)
		}
		all = append(all, x)
	}
	return all, nil
}
