package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"covey.test/interop/load"
	pb "covey.test/interop/testpb"

	"github.com/containerd/ttrpc"
)

const (
	middleLimit    = time.Minute
	middleMessages = 300
	middleBytes    = 10_000
)

// middleService answers with what its backend says.
type middleService struct {
	testService
	backend pb.TestServiceClient
}

// Echo reads a long stream of the backend and answers with the number of its messages, a byte each.
func (m middleService) Echo(_ context.Context, _ *pb.EchoRequest) (*pb.EchoResponse, error) {
	// A context of its own: only the health check passes metadata on.
	ctx, cancel := context.WithTimeout(context.Background(), middleLimit/4)
	defer cancel()
	stream, err := m.backend.Count(ctx, &pb.CountRequest{Count: middleMessages, Bytes: middleBytes})
	if err != nil {
		return nil, err
	}
	response := &pb.EchoResponse{}
	for {
		if _, err := stream.Recv(); errors.Is(err, io.EOF) {
			return response, nil
		} else if err != nil {
			return nil, fmt.Errorf("after %d messages: %w", len(response.Payload), err)
		}
		response.Payload = append(response.Payload, 1)
	}
}

// middleCommand serves with the help of a backend, as a Go service between two others does: its health
// check calls the backend with the context that it got, and so with its metadata.
func middleCommand(flags *flag.FlagSet) func(string) error {
	to := flags.String("to", "", "the backend's address")
	stdin := flags.Bool("stdin", false, "end when standard input ends")
	return func(address string) error {
		conn, err := load.Dial(*to)
		if err != nil {
			return err
		}
		client := ttrpc.NewClient(conn)
		defer client.Close()
		backend := pb.NewTestServiceClient(client)
		server, err := ttrpc.NewServer()
		if err != nil {
			return err
		}
		pb.RegisterTestServiceService(server, middleService{backend: backend})
		check := func(ctx context.Context, unmarshal func(any) error) (any, error) {
			request := &pb.NothingRequest{}
			if err := unmarshal(request); err != nil {
				return nil, err
			}
			metadata, _ := ttrpc.GetMetadata(ctx)
			if _, ok := metadata.Get("covey-extensions"); !ok {
				return nil, errors.New("the health check carries no offer to pass on")
			}
			return backend.Nothing(ctx, request)
		}
		server.RegisterService("grpc.health.v1.Health", &ttrpc.ServiceDesc{
			Methods: map[string]ttrpc.Method{"Check": check},
		})
		listener, err := load.Listen(address)
		if err != nil {
			return err
		}
		if *stdin {
			go func() {
				_, _ = io.Copy(io.Discard, os.Stdin)
				server.Close()
			}()
		}
		time.AfterFunc(middleLimit, func() { server.Close() })
		fmt.Printf("ready %s\n", load.Name(listener))
		if err := server.Serve(context.Background(), listener); !errors.Is(err, ttrpc.ErrServerClosed) {
			return err
		}
		return nil
	}
}
