package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"covey.test/interop/load"
	pb "covey.test/interop/testpb"

	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
)

// The most that a caller can ask of Count and Fail, so that a wrong number ends a call and not the
// machine.
const (
	countMax   = 100_000_000
	bytesMax   = 16 << 20
	detailsMax = 16
)

type testService struct{}

var _ pb.TestServiceService = testService{}

func (testService) Echo(ctx context.Context, request *pb.EchoRequest) (*pb.EchoResponse, error) {
	return echo(ctx, request)
}

func echo(ctx context.Context, request *pb.EchoRequest) (*pb.EchoResponse, error) {
	if request.DelayMillis > 0 {
		timer := time.NewTimer(time.Duration(request.DelayMillis) * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	response := &pb.EchoResponse{Payload: request.Payload}
	if request.MetadataKey != "" {
		if metadata, ok := ttrpc.GetMetadata(ctx); ok {
			response.MetadataValues, _ = metadata.Get(request.MetadataKey)
		}
	}
	_, response.HasDeadline = ctx.Deadline()
	return response, nil
}

func (testService) Count(ctx context.Context, request *pb.CountRequest, stream pb.TestService_CountServer) error {
	if request.Count > countMax || request.Bytes > bytesMax {
		return status.Errorf(codes.InvalidArgument, "count is at most %d and bytes at most %d", countMax, bytesMax)
	}
	payload := make([]byte, request.Bytes)
	for index := range request.Count {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := stream.Send(&pb.CountResponse{Index: index, Payload: payload}); err != nil {
			return err
		}
	}
	return nil
}

func (testService) Sum(_ context.Context, stream pb.TestService_SumServer) (*pb.SumResponse, error) {
	response := &pb.SumResponse{}
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return response, nil
		}
		if err != nil {
			return nil, err
		}
		response.Sum += request.Value
		response.Count++
	}
}

func (testService) Chat(ctx context.Context, stream pb.TestService_ChatServer) error {
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		response, err := echo(ctx, request)
		if err != nil {
			return err
		}
		if err := stream.Send(response); err != nil {
			return err
		}
	}
}

// fail gives the status that was asked for, nil for code 0. Details are the request itself, so that a
// client can tell that they came through whole.
func fail(request *pb.FailRequest, details uint32) error {
	if request.Code == 0 {
		return nil
	}
	result := status.New(codes.Code(uint32(request.Code)), request.Message)
	for range min(details, detailsMax) {
		var err error
		if result, err = result.WithDetails(protoadapt.MessageV1Of(request)); err != nil {
			return err
		}
	}
	return result.Err()
}

// Fail attaches `after` details, since a unary call has no messages to send first.
func (testService) Fail(_ context.Context, request *pb.FailRequest) (*pb.EchoResponse, error) {
	if err := fail(request, request.After); err != nil {
		return nil, err
	}
	return &pb.EchoResponse{}, nil
}

// FailStream's messages carry one byte, their number from 0 (its lowest eight bits).
func (testService) FailStream(_ context.Context, request *pb.FailRequest, stream pb.TestService_FailStreamServer) error {
	for index := range min(request.After, countMax) {
		if err := stream.Send(&pb.EchoResponse{Payload: []byte{byte(index)}}); err != nil {
			return err
		}
	}
	return fail(request, 0)
}

func (testService) Nothing(context.Context, *pb.NothingRequest) (*pb.NothingResponse, error) {
	return &pb.NothingResponse{}, nil
}

func newServer() (*ttrpc.Server, error) {
	server, err := ttrpc.NewServer()
	if err != nil {
		return nil, err
	}
	pb.RegisterTestServiceService(server, testService{})
	return server, nil
}

// serveCommand serves until SIGTERM, SIGINT or the time limit, and with --stdin also until standard
// input ends, so that it never outlives the test that started it.
func serveCommand(flags *flag.FlagSet) func(string) error {
	heap := flags.Int("heap-mb", 0, "keep this many megabytes of small linked objects alive")
	limit := flags.Duration("limit", time.Hour, "end after this long")
	stdin := flags.Bool("stdin", false, "end when standard input ends")
	return func(address string) error {
		server, err := newServer()
		if err != nil {
			return err
		}
		listener, err := load.Listen(address)
		if err != nil {
			return err
		}
		live := load.LiveHeap(*heap)
		end := make(chan os.Signal, 1)
		signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
		if *stdin {
			go func() {
				_, _ = io.Copy(io.Discard, os.Stdin)
				end <- syscall.SIGTERM
			}()
		}
		failed := make(chan error, 1)
		go func() { failed <- server.Serve(context.Background(), listener) }()
		fmt.Printf("ready %s\n", load.Name(listener))
		select {
		case <-end:
		case <-time.After(*limit):
		case err := <-failed:
			return err
		}
		err = server.Close()
		runtime.KeepAlive(live)
		if printErr := load.Print(map[string]any{"serverLongestGCPauseMicros": load.LongestGCPause()}); err == nil {
			err = printErr
		}
		return err
	}
}
