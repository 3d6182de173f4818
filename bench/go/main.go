// Program bench is the gRPC peer of the benchmarks: the test service on grpc-go, a load generator and
// a holder of connections, with the flags and the JSON lines of the interop program.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	pb "covey.test/bench/grpcpb"
	"covey.test/interop/load"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

const (
	countMax = 100_000_000
	bytesMax = 3 << 20
)

var commands = map[string]func(flags *flag.FlagSet) func(address string) error{
	"grpc-server": serveCommand,
	"grpc-client": benchCommand,
	"grpc-hold":   holdCommand,
}

func main() {
	if err := dispatch(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func dispatch(arguments []string) error {
	const usage = "usage: bench grpc-server|grpc-client|grpc-hold ADDRESS [flags]"
	if len(arguments) < 2 || commands[arguments[0]] == nil {
		return errors.New(usage)
	}
	flags := flag.NewFlagSet(arguments[0], flag.ExitOnError)
	run := commands[arguments[0]](flags)
	if err := flags.Parse(arguments[2:]); err != nil {
		return err
	}
	return run(arguments[1])
}

// service has the methods that the benchmarks call; the others answer "unimplemented".
type service struct {
	pb.UnimplementedTestServiceServer
}

func (service) Echo(ctx context.Context, request *pb.EchoRequest) (*pb.EchoResponse, error) {
	_, bounded := ctx.Deadline()
	return &pb.EchoResponse{Payload: request.Payload, HasDeadline: bounded}, nil
}

func (service) Count(request *pb.CountRequest, stream grpc.ServerStreamingServer[pb.CountResponse]) error {
	if request.Count > countMax || request.Bytes > bytesMax {
		return status.Errorf(codes.InvalidArgument, "count is at most %d and bytes at most %d", countMax, bytesMax)
	}
	payload := make([]byte, request.Bytes)
	for index := range request.Count {
		if err := stream.Send(&pb.CountResponse{Index: index, Payload: payload}); err != nil {
			return err
		}
	}
	return nil
}

func serveCommand(flags *flag.FlagSet) func(string) error {
	heap := flags.Int("heap-mb", 0, "keep this many megabytes of small linked objects alive")
	limit := flags.Duration("limit", time.Hour, "end after this long")
	stdin := flags.Bool("stdin", false, "end when standard input ends")
	return func(address string) error {
		listener, err := load.Listen(address)
		if err != nil {
			return err
		}
		live := load.LiveHeap(*heap)
		server := grpc.NewServer()
		pb.RegisterTestServiceServer(server, service{})
		end := make(chan os.Signal, 1)
		signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
		if *stdin {
			go func() {
				_, _ = io.Copy(io.Discard, os.Stdin)
				end <- syscall.SIGTERM
			}()
		}
		failed := make(chan error, 1)
		go func() { failed <- server.Serve(listener) }()
		fmt.Printf("ready %s\n", load.Name(listener))
		select {
		case <-end:
		case <-time.After(*limit):
		case err := <-failed:
			return err
		}
		server.Stop()
		runtime.KeepAlive(live)
		return load.Print(map[string]any{"serverLongestGCPauseMicros": load.LongestGCPause()})
	}
}

func connect(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///covey",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return load.Dial(address) }))
}

func benchCommand(flags *flag.FlagSet) func(string) error {
	var options load.Options
	load.Flags(flags, &options)
	return func(address string) error {
		if err := options.Check(); err != nil {
			return err
		}
		live := load.LiveHeap(options.HeapMB)
		connection, err := connect(address)
		if err != nil {
			return err
		}
		defer connection.Close()
		result, err := measure(pb.NewTestServiceClient(connection), options)
		runtime.KeepAlive(live)
		result.Peer = "grpc-go"
		if printErr := load.Print(result); printErr != nil {
			return printErr
		}
		return err
	}
}

func measure(client pb.TestServiceClient, options load.Options) (load.Result, error) {
	if options.Stream > 0 {
		return load.Streams(options, func(received func() bool) error {
			return readStream(client, options.Stream, received)
		})
	}
	caller := func() func() error {
		request := &pb.EchoRequest{Payload: make([]byte, options.Payload)}
		return func() error {
			response, err := client.Echo(context.Background(), request)
			if err == nil && len(response.Payload) != options.Payload {
				err = fmt.Errorf("sent %d bytes, got %d", options.Payload, len(response.Payload))
			}
			return err
		}
	}
	if options.Rate > 0 {
		return load.Open(options, caller)
	}
	return load.Closed(options, caller)
}

func readStream(client pb.TestServiceClient, size int, received func() bool) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := client.Count(ctx, &pb.CountRequest{Count: countMax, Bytes: uint32(size)})
	if err != nil {
		return err
	}
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(message.Payload) != size {
			return fmt.Errorf("asked for %d bytes, got %d", size, len(message.Payload))
		}
		if !received() {
			return nil
		}
	}
}

type heldConnection struct {
	*grpc.ClientConn
	request *pb.EchoRequest
}

func (h heldConnection) Call() error {
	_, err := pb.NewTestServiceClient(h.ClientConn).Echo(context.Background(), h.request)
	return err
}

func holdCommand(flags *flag.FlagSet) func(string) error {
	var options load.HoldOptions
	load.HoldFlags(flags, &options)
	return func(address string) error {
		held, err := load.Hold(options, func() (load.Connection, error) {
			connection, err := connect(address)
			if err != nil {
				return nil, err
			}
			return heldConnection{connection, &pb.EchoRequest{Payload: make([]byte, options.Payload)}}, nil
		})
		held.Peer = "grpc-go"
		if printErr := load.Print(held); printErr != nil {
			return printErr
		}
		return err
	}
}
