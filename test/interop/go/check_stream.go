package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	pb "covey.test/interop/testpb"

	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

var streamCases = []testCase{
	{"server-stream", countCase(10, 100)},
	{"server-stream-empty", countCase(0, 0)},
	// The first of these is a message of no bytes at all.
	{"server-stream-of-empty-messages", countCase(3, 0)},
	{"server-stream-of-10000", countCase(10_000, 64)},
	{"server-stream-slow-reader", withPeer(func(ctx context.Context, p *peer) (string, error) {
		stream, err := p.Count(ctx, &pb.CountRequest{Count: 200, Bytes: 16})
		if err != nil {
			return "", err
		}
		for index := range uint32(200) {
			time.Sleep(time.Millisecond)
			if message, err := stream.Recv(); err != nil || message.Index != index {
				return "", fmt.Errorf("message %d: %v %v", index, message, err)
			}
		}
		return "", p.alive()
	})},
	{"reply-of-exactly-4-MiB", withPeer(func(ctx context.Context, p *peer) (string, error) {
		return "", p.expectCount(ctx, 1, frameBytesMax-5)
	})},
	{"reply-one-byte-above-4-MiB", withPeer(func(ctx context.Context, p *peer) (string, error) {
		stream, err := p.Count(ctx, &pb.CountRequest{Count: 1, Bytes: frameBytesMax - 4})
		if err != nil {
			return "", err
		}
		_, err = stream.Recv()
		if err == nil {
			return "", errors.New("a message above the limit arrived")
		}
		// Go's server ends the whole connection here; a better one fails the one call.
		if after := p.alive(); after != nil {
			return fmt.Sprintf("the call: %v; the connection: %v", err, after), nil
		}
		return fmt.Sprintf("the call: %v; the connection lives", err), expectStatus(err, codes.ResourceExhausted)
	})},

	{"client-stream", sumCase(5)},
	{"client-stream-empty", sumCase(0)},
	{"client-stream-of-10000", sumCase(10_000)},
	{"client-stream-of-empty-messages", withPeer(func(ctx context.Context, p *peer) (string, error) {
		stream, err := p.Sum(ctx)
		if err != nil {
			return "", err
		}
		for range 3 {
			if err := stream.Send(&pb.SumRequest{}); err != nil {
				return "", err
			}
		}
		return "", expectSum(stream, 0, 3)
	})},

	{"bidi-ping-pong-1000", withPeer(func(ctx context.Context, p *peer) (string, error) {
		stream, err := p.Chat(ctx)
		if err != nil {
			return "", err
		}
		for index := range 1000 {
			if err := stream.Send(chatMessage(index)); err != nil {
				return "", fmt.Errorf("message %d: %w", index, err)
			}
			if err := expectChat(stream, index); err != nil {
				return "", err
			}
		}
		return "", closeAndExpectEnd(stream)
	})},
	{"bidi-client-half-closes-first", withPeer(func(ctx context.Context, p *peer) (string, error) {
		stream, err := p.Chat(ctx)
		if err != nil {
			return "", err
		}
		for index := range 50 {
			if err := stream.Send(chatMessage(index)); err != nil {
				return "", err
			}
		}
		if err := stream.CloseSend(); err != nil {
			return "", err
		}
		for index := range 50 {
			if err := expectChat(stream, index); err != nil {
				return "", err
			}
		}
		return "", expectEnd(stream)
	})},
	{"bidi-half-close-at-once", withPeer(func(ctx context.Context, p *peer) (string, error) {
		stream, err := p.Chat(ctx)
		if err != nil {
			return "", err
		}
		return "", closeAndExpectEnd(stream)
	})},
	{"bidi-empty-messages", withPeer(func(ctx context.Context, p *peer) (string, error) {
		stream, err := p.Chat(ctx)
		if err != nil {
			return "", err
		}
		for range 5 {
			if err := stream.Send(&pb.EchoRequest{}); err != nil {
				return "", err
			}
			if message, err := stream.Recv(); err != nil || proto.Size(message) != 0 {
				return "", fmt.Errorf("wanted an empty message, got %v %v", message, err)
			}
		}
		return "", closeAndExpectEnd(stream)
	})},
	{"bidi-both-ways-at-once-10000", withPeer(func(ctx context.Context, p *peer) (string, error) {
		stream, err := p.Chat(ctx)
		if err != nil {
			return "", err
		}
		sent := make(chan error, 1)
		go func() {
			for index := range 10_000 {
				if err := stream.Send(chatMessage(index)); err != nil {
					sent <- err
					return
				}
			}
			sent <- stream.CloseSend()
		}()
		for index := range 10_000 {
			if err := expectChat(stream, index); err != nil {
				return "", err
			}
		}
		if err := <-sent; err != nil {
			return "", err
		}
		return "", expectEnd(stream)
	})},
	{"bidi-last-message-then-close-1000", withPeer(func(ctx context.Context, p *peer) (string, error) {
		for round := range 1000 {
			stream, err := p.Chat(ctx)
			if err != nil {
				return "", err
			}
			if err := stream.Send(chatMessage(round)); err != nil {
				return "", err
			}
			if err := stream.CloseSend(); err != nil {
				return "", err
			}
			if err := expectChat(stream, round); err != nil {
				return "", fmt.Errorf("round %d: %w", round, err)
			}
			if err := expectEnd(stream); err != nil {
				return "", fmt.Errorf("round %d: %w", round, err)
			}
		}
		return "", nil
	})},

	{"stream-error-at-once", failStreamCase(0)},
	{"stream-error-after-3", failStreamCase(3)},
	{"stream-error-after-1000", failStreamCase(1000)},
	{"stream-of-3-without-error", withPeer(func(ctx context.Context, p *peer) (string, error) {
		stream, err := p.FailStream(ctx, &pb.FailRequest{After: 3})
		if err != nil {
			return "", err
		}
		if err := expectNumbers(stream, 3); err != nil {
			return "", err
		}
		if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("wanted the end of the stream, got %v", err)
		}
		return "", nil
	})},
	{"stream-of-10000-client-stops-reading-after-10", withPeer(func(_ context.Context, p *peer) (string, error) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		stream, err := p.Count(ctx, &pb.CountRequest{Count: 10_000, Bytes: 16})
		if err != nil {
			return "", err
		}
		for range 10 {
			if _, err := stream.Recv(); err != nil {
				return "", err
			}
		}
		cancel()
		if _, err := stream.Recv(); err != nil && !errors.Is(err, context.Canceled) {
			return "", fmt.Errorf("wanted the cancellation, got %v", err)
		}
		return "Go's client stalls its connection for up to 1 s here", p.alive()
	})},

	{"handler-finishes-while-client-sends", withPeer(func(ctx context.Context, p *peer) (string, error) {
		stream, err := p.Chat(ctx)
		if err != nil {
			return "", err
		}
		if err := stream.SendMsg(undecodable()); err != nil {
			return "", err
		}
		// More than Go's client keeps, since each of them is answered with an error of its own.
		for index := range 40 {
			if err := stream.Send(chatMessage(index)); err != nil {
				return "", err
			}
		}
		if err := expectStatus(stream.RecvMsg(&pb.EchoResponse{}), codes.Internal); err != nil {
			return "", err
		}
		return "", p.alive()
	})},
	{"handler-finishes-while-client-streams-10000", withPeer(func(ctx context.Context, p *peer) (string, error) {
		stream, err := p.Sum(ctx)
		if err != nil {
			return "", err
		}
		if err := stream.SendMsg(undecodable()); err != nil {
			return "", err
		}
		sent := make(chan error, 1)
		go func() {
			for range 10_000 {
				if err := stream.Send(&pb.SumRequest{Value: 1}); err != nil {
					sent <- err
					return
				}
			}
			sent <- nil
		}()
		first := stream.RecvMsg(&pb.SumResponse{})
		if err := <-sent; err != nil {
			return "", fmt.Errorf("while sending: %w", err)
		}
		if err := expectStatus(first, codes.Internal); err != nil {
			return "", err
		}
		return "", p.alive()
	})},
}

func countCase(count, size uint32) func(context.Context, string) (string, error) {
	return withPeer(func(ctx context.Context, p *peer) (string, error) {
		if err := p.expectCount(ctx, count, size); err != nil {
			return "", err
		}
		return "", p.alive()
	})
}

func (p *peer) expectCount(ctx context.Context, count, size uint32) error {
	stream, err := p.Count(ctx, &pb.CountRequest{Count: count, Bytes: size})
	if err != nil {
		return err
	}
	for index := range count {
		message, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("message %d: %w", index, err)
		}
		if message.Index != index || len(message.Payload) != int(size) {
			return fmt.Errorf("message %d has index %d and %d bytes", index, message.Index, len(message.Payload))
		}
	}
	for range 2 {
		if message, err := stream.Recv(); !errors.Is(err, io.EOF) {
			return fmt.Errorf("wanted the end of the stream, got %v %v", message, err)
		}
	}
	return nil
}

func sumCase(count int64) func(context.Context, string) (string, error) {
	return withPeer(func(ctx context.Context, p *peer) (string, error) {
		stream, err := p.Sum(ctx)
		if err != nil {
			return "", err
		}
		var sum int64
		for index := range count {
			value := (index - 2) * 1_000_003
			sum += value
			if err := stream.Send(&pb.SumRequest{Value: value}); err != nil {
				return "", fmt.Errorf("message %d: %w", index, err)
			}
		}
		if err := expectSum(stream, sum, uint32(count)); err != nil {
			return "", err
		}
		return "", p.alive()
	})
}

func expectSum(stream pb.TestService_SumClient, sum int64, count uint32) error {
	response, err := stream.CloseAndRecv()
	if err == nil && (response.Sum != sum || response.Count != count) {
		err = fmt.Errorf("wanted sum %d of %d, got %d of %d", sum, count, response.Sum, response.Count)
	}
	return err
}

func failStreamCase(after uint32) func(context.Context, string) (string, error) {
	return withPeer(func(ctx context.Context, p *peer) (string, error) {
		stream, err := p.FailStream(ctx, &pb.FailRequest{Code: 11, Message: "past the end", After: after})
		if err != nil {
			return "", err
		}
		if err := expectNumbers(stream, after); err != nil {
			return "", err
		}
		_, err = stream.Recv()
		if err := expectStatus(err, codes.OutOfRange); err != nil {
			return "", err
		}
		return err.Error(), p.alive()
	})
}

func expectNumbers(stream pb.TestService_FailStreamClient, count uint32) error {
	for index := range count {
		message, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("message %d: %w", index, err)
		}
		if want := []byte{byte(index)}; !bytes.Equal(message.Payload, want) {
			return fmt.Errorf("wanted payload %v, got %v", want, message.Payload)
		}
	}
	return nil
}

func chatMessage(index int) *pb.EchoRequest {
	return &pb.EchoRequest{Payload: fmt.Appendf(nil, "message %d", index)}
}

func expectChat(stream pb.TestService_ChatClient, index int) error {
	message, err := stream.Recv()
	if err != nil {
		return fmt.Errorf("message %d: %w", index, err)
	}
	if want := fmt.Sprintf("message %d", index); string(message.Payload) != want {
		return fmt.Errorf("wanted %q, got %q", want, message.Payload)
	}
	return nil
}

func closeAndExpectEnd(stream pb.TestService_ChatClient) error {
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if err := stream.CloseSend(); !errors.Is(err, ttrpc.ErrStreamClosed) {
		return fmt.Errorf("wanted Go's client to refuse a second close, got %v", err)
	}
	return expectEnd(stream)
}

func expectEnd(stream pb.TestService_ChatClient) error {
	if message, err := stream.Recv(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("wanted the end of the stream, got %v %v", message, err)
	}
	return nil
}

// undecodable gives a message whose bytes no message type accepts: field 1 says 5 bytes, one follows.
func undecodable() proto.Message {
	message := &pb.NothingRequest{}
	message.ProtoReflect().SetUnknown([]byte{0x0a, 0x05, 0x01})
	return message
}
