package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	pb "covey.test/interop/testpb"

	"github.com/containerd/ttrpc"
)

// callCases are about many calls, and about calls that end before their answer.
var callCases = []testCase{
	{"concurrent-1000-calls", withPeer(func(ctx context.Context, p *peer) (string, error) {
		return "", together(1000, func(index int) error {
			return p.expectPayload(ctx, fmt.Appendf(nil, "call %d", index))
		})
	})},
	{"concurrent-1000-slow-calls", withPeer(func(ctx context.Context, p *peer) (string, error) {
		var most, now atomic.Int32
		begun := time.Now()
		err := together(1000, func(index int) error {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			_, err := p.Echo(ctx, &pb.EchoRequest{DelayMillis: 200})
			return err
		})
		if took := time.Since(begun); err == nil && took > 5*time.Second {
			err = fmt.Errorf("1000 calls of 200 ms each took %v together", took)
		}
		return fmt.Sprintf("%d at once", most.Load()), err
	})},
	{"concurrent-streams-of-all-kinds", withPeer(func(ctx context.Context, p *peer) (string, error) {
		return "", together(100, func(index int) error {
			switch index % 4 {
			case 0:
				return p.expectCount(ctx, 200, 32)
			case 1:
				stream, err := p.Sum(ctx)
				if err != nil {
					return err
				}
				for range 200 {
					if err := stream.Send(&pb.SumRequest{Value: int64(index)}); err != nil {
						return err
					}
				}
				return expectSum(stream, int64(index)*200, 200)
			case 2:
				stream, err := p.Chat(ctx)
				if err != nil {
					return err
				}
				for round := range 100 {
					if err := stream.Send(chatMessage(round)); err != nil {
						return err
					}
					if err := expectChat(stream, round); err != nil {
						return err
					}
				}
				return closeAndExpectEnd(stream)
			}
			return p.expectPayload(ctx, fmt.Appendf(nil, "call %d", index))
		})
	})},
	{"concurrent-1-MiB-payloads", withPeer(func(ctx context.Context, p *peer) (string, error) {
		return "", together(16, func(index int) error {
			payload := make([]byte, 1<<20)
			for at := range payload {
				payload[at] = byte(at + index)
			}
			return p.expectPayload(ctx, payload)
		})
	})},
	{"slow-call-delays-no-other", withPeer(func(ctx context.Context, p *peer) (string, error) {
		slow := make(chan error, 1)
		go func() {
			_, err := p.Echo(ctx, &pb.EchoRequest{DelayMillis: 1000})
			slow <- err
		}()
		begun := time.Now()
		for range 50 {
			if err := p.expectPayload(ctx, []byte("fast")); err != nil {
				return "", err
			}
		}
		if took := time.Since(begun); took > 800*time.Millisecond {
			return "", fmt.Errorf("50 fast calls took %v beside a slow one", took)
		}
		return "", <-slow
	})},
	{"connections-100", func(ctx context.Context, address string) (string, error) {
		return "", together(100, func(index int) error {
			p, err := connect(address)
			if err != nil {
				return err
			}
			defer p.close()
			return p.expectPayload(ctx, fmt.Appendf(nil, "connection %d", index))
		})
	}},

	{"cancel-unary", withPeer(func(_ context.Context, p *peer) (string, error) {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(50*time.Millisecond, cancel)
		begun := time.Now()
		_, err := p.Echo(ctx, &pb.EchoRequest{DelayMillis: 600})
		if !errors.Is(err, context.Canceled) {
			return "", fmt.Errorf("wanted the cancellation, got %v", err)
		}
		if took := time.Since(begun); took > 500*time.Millisecond {
			return "", fmt.Errorf("the cancellation took %v", took)
		}
		// The answer to the forgotten call comes meanwhile, and must hurt nothing.
		time.Sleep(700 * time.Millisecond)
		return "", p.alive()
	})},
	{"cancel-200-of-400", withPeer(func(ctx context.Context, p *peer) (string, error) {
		err := together(400, func(index int) error {
			if index%2 == 0 {
				return p.expectPayload(ctx, fmt.Appendf(nil, "call %d", index))
			}
			short, cancel := context.WithTimeout(context.Background(), time.Duration(index%20)*time.Millisecond)
			defer cancel()
			_, err := p.Echo(short, &pb.EchoRequest{DelayMillis: 300})
			if !expired(err) {
				return fmt.Errorf("wanted the deadline to expire, got %v", err)
			}
			return nil
		})
		if err != nil {
			return "", err
		}
		return "", p.alive()
	})},
	{"close-while-calls-wait", func(_ context.Context, address string) (string, error) {
		p, err := connect(address)
		if err != nil {
			return "", err
		}
		time.AfterFunc(100*time.Millisecond, p.close)
		var closed atomic.Int32
		err = together(50, func(int) error {
			_, err := p.Echo(context.Background(), &pb.EchoRequest{DelayMillis: 3000})
			if !errors.Is(err, ttrpc.ErrClosed) {
				return fmt.Errorf("wanted %v, got %v", ttrpc.ErrClosed, err)
			}
			closed.Add(1)
			return nil
		})
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%d calls ended with %v", closed.Load(), ttrpc.ErrClosed), aliveAt(address)
	}},
	{"close-while-streams-run", func(ctx context.Context, address string) (string, error) {
		p, err := connect(address)
		if err != nil {
			return "", err
		}
		chat, err := p.Chat(ctx)
		if err != nil {
			return "", err
		}
		if err := chat.Send(chatMessage(0)); err != nil {
			return "", err
		}
		if err := expectChat(chat, 0); err != nil {
			return "", err
		}
		if _, err := p.Count(ctx, &pb.CountRequest{Count: 1_000_000, Bytes: 1000}); err != nil {
			return "", err
		}
		p.close()
		return "", aliveAt(address)
	}},
}

// aliveAt makes a call on a new connection.
func aliveAt(address string) error {
	p, err := connect(address)
	if err != nil {
		return fmt.Errorf("the server takes no new connection: %w", err)
	}
	defer p.close()
	return p.alive()
}

// together runs the function that many times at once and gives the first error.
func together(count int, run func(index int) error) error {
	var group sync.WaitGroup
	failures := make(chan error, count)
	for index := range count {
		group.Go(func() {
			if err := run(index); err != nil {
				failures <- fmt.Errorf("%d: %w", index, err)
			}
		})
	}
	group.Wait()
	close(failures)
	return <-failures
}
