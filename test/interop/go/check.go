package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"regexp"
	"slices"
	"time"

	"covey.test/interop/load"
	pb "covey.test/interop/testpb"

	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// testCase is one thing that a server must do. `run` gives a detail worth reading when it passes.
type testCase struct {
	name string
	run  func(ctx context.Context, address string) (detail string, err error)
}

type outcome struct {
	Name   string  `json:"name"`
	Ok     bool    `json:"ok"`
	Detail string  `json:"detail"`
	Millis float64 `json:"millis"`
}

const caseSecondsMax = 30

func allCases() []testCase {
	return slices.Concat(unaryCases, streamCases, callCases, wireCases)
}

func checkCommand(flags *flag.FlagSet) func(string) error {
	only := flags.String("only", "", "run only the cases whose name matches this regular expression")
	list := flags.Bool("list", false, "print the names and do nothing")
	return func(address string) error {
		pattern, err := regexp.Compile(*only)
		if err != nil {
			return err
		}
		quiet()
		failed := 0
		for _, each := range allCases() {
			if !pattern.MatchString(each.name) {
				continue
			}
			if *list {
				fmt.Println(each.name)
				continue
			}
			result := runCase(each, address)
			if !result.Ok {
				failed++
			}
			if err := load.Print(result); err != nil {
				return err
			}
		}
		if failed > 0 {
			return fmt.Errorf("%d cases failed", failed)
		}
		return nil
	}
}

// runCase bounds a case in time even when it hangs without looking at its context.
func runCase(each testCase, address string) outcome {
	ctx, cancel := context.WithTimeout(context.Background(), caseSecondsMax*time.Second)
	defer cancel()
	done := make(chan outcome, 1)
	begun := time.Now()
	go func() {
		detail, err := each.run(ctx, address)
		result := outcome{Name: each.name, Ok: err == nil, Detail: detail}
		if err != nil {
			result.Detail = err.Error()
		}
		done <- result
	}()
	var result outcome
	select {
	case result = <-done:
	case <-time.After((caseSecondsMax + 5) * time.Second):
		result = outcome{Name: each.name, Detail: fmt.Sprintf("no end within %d s", caseSecondsMax+5)}
	}
	result.Millis = float64(time.Since(begun).Microseconds()) / 1000
	return result
}

// peer is a Go client on a connection of its own.
type peer struct {
	pb.TestServiceClient
	client *ttrpc.Client
}

func connect(address string) (*peer, error) {
	conn, err := load.Dial(address)
	if err != nil {
		return nil, err
	}
	client := ttrpc.NewClient(conn)
	return &peer{pb.NewTestServiceClient(client), client}, nil
}

func (p *peer) close() { p.client.Close() }

// withPeer makes a case of a function that needs a client.
func withPeer(run func(ctx context.Context, p *peer) (string, error)) func(context.Context, string) (string, error) {
	return func(ctx context.Context, address string) (string, error) {
		p, err := connect(address)
		if err != nil {
			return "", err
		}
		defer p.close()
		return run(ctx, p)
	}
}

// withWire makes a case of a function that writes frames by hand.
func withWire(run func(w *wire) (string, error)) func(context.Context, string) (string, error) {
	return func(_ context.Context, address string) (string, error) {
		w, err := dialWire(address)
		if err != nil {
			return "", err
		}
		defer w.close()
		return run(w)
	}
}

// alive makes a call without a deadline, to see that the connection still works.
func (p *peer) alive() error {
	done := make(chan error, 1)
	go func() {
		response, err := p.Echo(context.Background(), &pb.EchoRequest{Payload: []byte("alive")})
		if err == nil && string(response.Payload) != "alive" {
			err = fmt.Errorf("the call after it got %q", response.Payload)
		}
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("the call after it failed: %w", err)
		}
		return nil
	case <-time.After(10 * time.Second):
		return errors.New("the call after it got no answer in 10 s")
	}
}

func expectStatus(err error, want codes.Code) error {
	if err == nil {
		return fmt.Errorf("wanted code %d, the call succeeded", want)
	}
	got, ok := status.FromError(err)
	if !ok {
		return fmt.Errorf("wanted code %d, got an error without one: %w", want, err)
	}
	if got.Code() != want {
		return fmt.Errorf("wanted code %d, got %d %q", want, got.Code(), got.Message())
	}
	return nil
}

// expired says whether the error is the end of a deadline: the server's status or, when Go's client
// was first, its own context error, which has no code.
func expired(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.DeadlineExceeded
}
