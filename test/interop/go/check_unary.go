package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	pb "covey.test/interop/testpb"

	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

var unaryCases = []testCase{
	{"unary-echo", withPeer(func(ctx context.Context, p *peer) (string, error) {
		payload := make([]byte, 256)
		for index := range payload {
			payload[index] = byte(index)
		}
		return "", p.expectPayload(ctx, payload)
	})},
	{"unary-empty-message", withPeer(func(ctx context.Context, p *peer) (string, error) {
		_, err := p.Nothing(ctx, &pb.NothingRequest{})
		return "", err
	})},
	{"unary-empty-payload", withPeer(func(ctx context.Context, p *peer) (string, error) {
		return "", p.expectPayload(ctx, nil)
	})},
	{"unary-1000-in-a-row", withPeer(func(ctx context.Context, p *peer) (string, error) {
		for index := range 1000 {
			if err := p.expectPayload(ctx, fmt.Appendf(nil, "call %d", index)); err != nil {
				return "", fmt.Errorf("call %d: %w", index, err)
			}
		}
		return "", nil
	})},

	{"metadata-one-value", metadataCase("key", "key", "value")},
	{"metadata-several-values-in-order", metadataCase("key", "key", "c", "a", "b", "a")},
	{"metadata-mixed-case", metadataCase("X-Mixed-Case", "x-mIXED-cASE", "Value")},
	{"metadata-empty-value", metadataCase("key", "key", "", "")},
	{"metadata-unicode-value", metadataCase("key", "key", "covée 🐦", "a b\tc\n")},
	{"metadata-long-value", metadataCase("key", "key", strings.Repeat("v", 100_000))},
	{"metadata-absent", withPeer(func(ctx context.Context, p *peer) (string, error) {
		ctx = ttrpc.WithMetadata(ctx, ttrpc.MD{"other": {"value"}})
		response, err := p.Echo(ctx, &pb.EchoRequest{MetadataKey: "key"})
		if err == nil && len(response.MetadataValues) != 0 {
			err = fmt.Errorf("got %q for a key that was not sent", response.MetadataValues)
		}
		return "", err
	})},

	{"deadline-absent", withPeer(func(_ context.Context, p *peer) (string, error) {
		response, err := p.Echo(context.Background(), &pb.EchoRequest{})
		if err == nil && response.HasDeadline {
			err = errors.New("the server saw a deadline that nobody set")
		}
		return "", err
	})},
	{"deadline-seen", deadlineSeen(10 * time.Second)},
	// 60 days do not fit a 32-bit count of milliseconds.
	{"deadline-of-60-days-seen", deadlineSeen(60 * 24 * time.Hour)},
	{"deadline-expires", withPeer(func(_ context.Context, p *peer) (string, error) {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		begun := time.Now()
		_, err := p.Echo(ctx, &pb.EchoRequest{DelayMillis: 8000})
		took := time.Since(begun)
		switch {
		case !expired(err):
			return "", fmt.Errorf("wanted the deadline to expire, got %v", err)
		case took < 90*time.Millisecond || took > 2*time.Second:
			return "", fmt.Errorf("a deadline of 100 ms ended after %v", took)
		}
		return fmt.Sprintf("%T %v", err, err), p.alive()
	})},

	{"error-codes-1-to-16", withPeer(func(ctx context.Context, p *peer) (string, error) {
		for number := int32(1); number <= 16; number++ {
			message := fmt.Sprintf("message of code %d", number)
			_, err := p.Fail(ctx, &pb.FailRequest{Code: number, Message: message})
			if err := expectStatus(err, codes.Code(number)); err != nil {
				return "", err
			}
			if got := status.Convert(err).Message(); got != message {
				return "", fmt.Errorf("code %d: wanted message %q, got %q", number, message, got)
			}
			if details := status.Convert(err).Proto().GetDetails(); len(details) != 0 {
				return "", fmt.Errorf("code %d: got %d details, wanted none", number, len(details))
			}
		}
		return "", p.alive()
	})},
	{"error-code-0-is-success", withPeer(func(ctx context.Context, p *peer) (string, error) {
		response, err := p.Fail(ctx, &pb.FailRequest{Message: "not used"})
		if err == nil && len(response.Payload) != 0 {
			err = fmt.Errorf("wanted an empty answer, got %q", response.Payload)
		}
		return "", err
	})},
	{"error-message-empty-and-unicode", withPeer(func(ctx context.Context, p *peer) (string, error) {
		for _, message := range []string{"", "pas trouvé 🐦\nsecond line", strings.Repeat("m", 60_000)} {
			_, err := p.Fail(ctx, &pb.FailRequest{Code: 5, Message: message})
			if err := expectStatus(err, codes.NotFound); err != nil {
				return "", err
			}
			if got := status.Convert(err).Message(); got != message {
				return "", fmt.Errorf("wanted message %q, got %q", message, got)
			}
		}
		return "", nil
	})},
	{"error-details", withPeer(func(ctx context.Context, p *peer) (string, error) {
		sent := &pb.FailRequest{Code: 9, Message: "with details", After: 3}
		_, err := p.Fail(ctx, sent)
		if err := expectStatus(err, codes.FailedPrecondition); err != nil {
			return "", err
		}
		details := status.Convert(err).Details()
		if len(details) != 3 {
			return "", fmt.Errorf("wanted 3 details, got %d", len(details))
		}
		for index, detail := range details {
			got, ok := detail.(*pb.FailRequest)
			if !ok || !proto.Equal(got, sent) {
				return "", fmt.Errorf("detail %d is %v, wanted the request", index, detail)
			}
		}
		return "", nil
	})},
	{"unknown-service", withPeer(func(ctx context.Context, p *peer) (string, error) {
		err := p.client.Call(ctx, "covey.test.v1.Missing", "Echo", &pb.EchoRequest{}, &pb.EchoResponse{})
		if err := expectStatus(err, codes.Unimplemented); err != nil {
			return "", err
		}
		return status.Convert(err).Message(), p.alive()
	})},
	{"unknown-method", withPeer(func(ctx context.Context, p *peer) (string, error) {
		err := p.client.Call(ctx, serviceName, "Missing", &pb.EchoRequest{}, &pb.EchoResponse{})
		if err := expectStatus(err, codes.Unimplemented); err != nil {
			return "", err
		}
		return status.Convert(err).Message(), p.alive()
	})},
	{"unknown-method-as-stream", withPeer(func(ctx context.Context, p *peer) (string, error) {
		desc := &ttrpc.StreamDesc{StreamingClient: true, StreamingServer: true}
		stream, err := p.client.NewStream(ctx, desc, serviceName, "Missing", nil)
		if err != nil {
			return "", err
		}
		if err := expectStatus(stream.RecvMsg(&pb.EchoResponse{}), codes.Unimplemented); err != nil {
			return "", err
		}
		return "", p.alive()
	})},
	{"request-of-exactly-4-MiB", withPeer(func(_ context.Context, p *peer) (string, error) {
		return "", p.expectPayload(context.Background(), payloadForEnvelope(frameBytesMax))
	})},
	{"request-one-byte-above-4-MiB", withPeer(func(_ context.Context, p *peer) (string, error) {
		_, err := p.Echo(context.Background(), &pb.EchoRequest{Payload: payloadForEnvelope(frameBytesMax + 1)})
		if status.Code(err) != codes.ResourceExhausted {
			return "", fmt.Errorf("wanted Go's client to refuse it with code 8, got %v", err)
		}
		return "refused by Go's client before it is sent: " + err.Error(), p.alive()
	})},
}

func metadataCase(sentKey, askedKey string, values ...string) func(context.Context, string) (string, error) {
	return withPeer(func(ctx context.Context, p *peer) (string, error) {
		metadata := ttrpc.MD{}
		metadata.Set(sentKey, values...)
		metadata.Set("other", "of no interest")
		response, err := p.Echo(ttrpc.WithMetadata(ctx, metadata), &pb.EchoRequest{MetadataKey: askedKey})
		if err != nil {
			return "", err
		}
		if !slices.Equal(response.MetadataValues, values) {
			return "", fmt.Errorf("sent %q, the server saw %q", values, response.MetadataValues)
		}
		return "", nil
	})
}

func deadlineSeen(timeout time.Duration) func(context.Context, string) (string, error) {
	return withPeer(func(_ context.Context, p *peer) (string, error) {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		response, err := p.Echo(ctx, &pb.EchoRequest{DelayMillis: 20})
		if err == nil && !response.HasDeadline {
			err = errors.New("the server saw no deadline")
		}
		return "", err
	})
}

func (p *peer) expectPayload(ctx context.Context, payload []byte) error {
	response, err := p.Echo(ctx, &pb.EchoRequest{Payload: payload})
	if err == nil && !bytes.Equal(response.Payload, payload) {
		err = fmt.Errorf("sent %d bytes, got %d, or others", len(payload), len(response.Payload))
	}
	return err
}

// payloadForEnvelope gives the payload with which the envelope of an Echo without a deadline has that
// size.
func payloadForEnvelope(size int) []byte {
	envelope := request("Echo", &pb.EchoRequest{Payload: make([]byte, size)})
	payload := make([]byte, 2*size-proto.Size(envelope))
	for index := range payload {
		payload[index] = byte(index * 7)
	}
	return payload
}
