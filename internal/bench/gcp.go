package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/GoogleCloudPlatform/grpc-gcp-go/grpcgcp"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
)

// gcpPicker is the picker of grpc-gcp with that many ready connections of 100
// streams, taken out of gRPC: its registered balancer is given a channel that
// only hands out connections and keeps the picker. This is the one place
// outside internal/lb that needs gRPC's balancer API, because the peer is one.
func gcpPicker(conns int) (contender, error) {
	builder := balancer.Get(grpcgcp.Name)
	parser, ok := builder.(balancer.ConfigParser)
	if !ok {
		return contender{}, fmt.Errorf("grpc-gcp's balancer is a %T, without a configuration", builder)
	}
	cfg, err := parser.ParseConfig(fmt.Appendf(nil,
		`{"channelPool":{"minSize":%d,"maxSize":%d,"maxConcurrentStreamsLowWatermark":100}}`, conns, conns))
	if err != nil {
		return contender{}, err
	}
	channel := &gcpChannel{}
	b := builder.Build(channel, balancer.BuildOptions{})
	if err := b.UpdateClientConnState(balancer.ClientConnState{
		ResolverState:  resolver.State{Addresses: []resolver.Address{{Addr: "none"}}},
		BalancerConfig: cfg,
	}); err != nil {
		return contender{}, err
	}
	for _, conn := range channel.conns {
		for _, s := range []connectivity.State{connectivity.Connecting, connectivity.Ready} {
			b.UpdateSubConnState(conn, balancer.SubConnState{ConnectivityState: s}) //lint:ignore SA1019 grpc-gcp hears of states in no other way
		}
	}
	if len(channel.conns) != conns || channel.picker == nil {
		return contender{}, errors.New("grpc-gcp's balancer did not come up")
	}
	info := balancer.PickInfo{FullMethodName: "/bench/Call", Ctx: context.Background()}
	picker := channel.picker
	return contender{name: "grpc-gcp v1.6.0, picker only", loop: func(n int) error {
		for range n {
			r, err := picker.Pick(info)
			if err != nil {
				return err
			}
			r.Done(balancer.DoneInfo{})
		}
		return nil
	}}, nil
}

// gcpChannel stands for the grpc.ClientConn around the balancer.
type gcpChannel struct {
	balancer.ClientConn // for the methods that are not called here
	conns               []balancer.SubConn
	picker              balancer.Picker
}

func (c *gcpChannel) NewSubConn([]resolver.Address, balancer.NewSubConnOptions) (balancer.SubConn, error) {
	conn := &gcpConn{}
	c.conns = append(c.conns, conn)
	return conn, nil
}

func (c *gcpChannel) UpdateState(s balancer.State) { c.picker = s.Picker }

type gcpConn struct {
	balancer.SubConn // for the methods that are not called here
}

func (*gcpConn) Connect()                           {}
func (*gcpConn) UpdateAddresses([]resolver.Address) {}
