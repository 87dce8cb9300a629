package pooltest

import (
	"context"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const exchangeService = "enclavepool.pooltest.Exchange"

var exchangeDesc = grpc.StreamDesc{StreamName: "Exchange", ClientStreams: true, ServerStreams: true}

// ServeExchange registers a bidirectional RPC that answers every request with
// one response, in order; OpenExchange opens it. answer may return io.EOF to
// end the stream with OK instead of answering; any other error ends it as gRPC
// handlers do. A nil answer echoes. ctx ends with the stream.
func ServeExchange(srv grpc.ServiceRegistrar, answer func(ctx context.Context, req []byte) ([]byte, error)) {
	desc := exchangeDesc
	desc.Handler = func(_ any, s grpc.ServerStream) error {
		stream := &grpc.GenericServerStream[wrapperspb.BytesValue, wrapperspb.BytesValue]{ServerStream: s}
		for {
			m, err := stream.Recv()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			if answer != nil {
				if m.Value, err = answer(s.Context(), m.Value); err == io.EOF {
					return nil
				}
				if err != nil {
					return err
				}
			}
			if err := stream.Send(m); err != nil {
				return err
			}
		}
	}
	srv.RegisterService(&grpc.ServiceDesc{
		ServiceName: exchangeService,
		HandlerType: (*any)(nil),
		Streams:     []grpc.StreamDesc{desc},
	}, nil)
}

// OpenExchange opens the RPC of ServeExchange. It is what pool.NewStreams wants.
func OpenExchange(ctx context.Context, cc grpc.ClientConnInterface) (grpc.BidiStreamingClient[wrapperspb.BytesValue, wrapperspb.BytesValue], error) {
	s, err := cc.NewStream(ctx, &exchangeDesc, "/"+exchangeService+"/Exchange")
	if err != nil {
		return nil, err
	}
	return &grpc.GenericClientStream[wrapperspb.BytesValue, wrapperspb.BytesValue]{ClientStream: s}, nil
}
