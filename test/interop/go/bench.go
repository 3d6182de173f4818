package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime"

	"covey.test/interop/load"
	pb "covey.test/interop/testpb"

	"github.com/containerd/log"
)

// quiet keeps the ttrpc module from writing a line for each frame of a stream that it has forgotten.
func quiet() {
	_ = log.SetLevel("panic")
}

func benchCommand(flags *flag.FlagSet) func(string) error {
	var options load.Options
	load.Flags(flags, &options)
	return func(address string) error {
		if err := options.Check(); err != nil {
			return err
		}
		quiet()
		live := load.LiveHeap(options.HeapMB)
		p, err := connect(address)
		if err != nil {
			return err
		}
		defer p.close()
		result, err := p.measure(options)
		runtime.KeepAlive(live)
		result.Peer = "go-ttrpc"
		if printErr := load.Print(result); printErr != nil {
			return printErr
		}
		return err
	}
}

func (p *peer) measure(options load.Options) (load.Result, error) {
	ctx := context.Background()
	if options.Stream > 0 {
		return load.Streams(options, func(received func() bool) error {
			return p.readStream(ctx, options.Stream, received)
		})
	}
	caller := func() func() error {
		request := &pb.EchoRequest{Payload: make([]byte, options.Payload)}
		return func() error {
			response, err := p.Echo(ctx, request)
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

// readStream asks for so many messages that the time is over first on any machine; the connection is
// closed right after, which is how the rest of the stream ends.
func (p *peer) readStream(ctx context.Context, size int, received func() bool) error {
	stream, err := p.Count(ctx, &pb.CountRequest{Count: countMax, Bytes: uint32(size)})
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
	*peer
	request *pb.EchoRequest
}

func (h heldConnection) Call() error {
	_, err := h.Echo(context.Background(), h.request)
	return err
}

func (h heldConnection) Close() error { return h.client.Close() }

func holdCommand(flags *flag.FlagSet) func(string) error {
	var options load.HoldOptions
	load.HoldFlags(flags, &options)
	return func(address string) error {
		quiet()
		held, err := load.Hold(options, func() (load.Connection, error) {
			p, err := connect(address)
			if err != nil {
				return nil, err
			}
			return heldConnection{p, &pb.EchoRequest{Payload: make([]byte, options.Payload)}}, nil
		})
		held.Peer = "go-ttrpc"
		if printErr := load.Print(held); printErr != nil {
			return printErr
		}
		return err
	}
}
