package pooltest

import (
	"context"
	"io"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func TestAnExchangeEchoesAnswersEndsPolitelyAndFails(t *testing.T) {
	answer := func(_ context.Context, req []byte) ([]byte, error) {
		switch string(req) {
		case "end":
			return nil, io.EOF
		case "fail":
			return nil, status.Error(codes.NotFound, "no such key")
		}
		return append(req, '!'), nil
	}
	for _, tt := range []struct {
		answer    func(context.Context, []byte) ([]byte, error)
		req, want string
		err       error
		code      codes.Code
	}{
		{nil, "x", "x", nil, codes.OK},
		{answer, "x", "x!", nil, codes.OK},
		{answer, "end", "", io.EOF, codes.Unknown},
		{answer, "fail", "", nil, codes.NotFound},
	} {
		e := Start(t, func(srv *grpc.Server) { ServeExchange(srv, tt.answer) })
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		s, err := OpenExchange(ctx, client(t, e))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Send(wrapperspb.Bytes([]byte(tt.req))); err != nil {
			t.Fatal(err)
		}
		res, err := s.Recv()
		if string(res.GetValue()) != tt.want || tt.err != nil && err != tt.err || status.Code(err) != tt.code {
			t.Errorf("%q: %q, %v", tt.req, res.GetValue(), err)
		}
		if err == nil {
			if err := s.CloseSend(); err != nil {
				t.Error(err)
			}
			if _, err := s.Recv(); err != io.EOF {
				t.Errorf("after CloseSend: %v", err)
			}
		}
	}
}
