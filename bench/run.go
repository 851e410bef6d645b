package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tidemark/tidemark/bench/measure"
	"github.com/tidemark/tidemark/bench/report"
	"github.com/tidemark/tidemark/bench/result"
	"github.com/tidemark/tidemark/bench/system"
)

// runFlags are those of bench run.
type runFlags struct {
	module   string
	program  string
	out      string
	plots    string
	only     string
	peers    bool
	repeat   int
	small    bool
	patience time.Duration
}

func parseFlags(args []string) (f runFlags, err error) {
	set := flag.NewFlagSet("bench run", flag.ContinueOnError)
	set.StringVar(&f.module, "module", ".", "directory of Tidemark's module")
	set.StringVar(&f.program, "tidemark", "", "the program (default: bin/tidemark in the module)")
	set.StringVar(&f.out, "out", "", "where to write: this name with .json and .md (default: bin/bench in the module)")
	set.StringVar(&f.plots, "plots", "", "directory for the plots (default: none are drawn)")
	set.StringVar(&f.only, "only", "", "measures to do, such as 1,3 (default: all)")
	set.BoolVar(&f.peers, "peers", true, "measure the peers too")
	set.IntVar(&f.repeat, "repeat", 3, "repetitions of each measure")
	set.BoolVar(&f.small, "small", false, "a handful of clients for a moment, to see that everything works: figures say nothing")
	set.DurationVar(&f.patience, "limit", time.Hour, "limit for the whole run")
	if err := set.Parse(args); err != nil {
		return f, err
	}
	if f.program == "" {
		f.program = filepath.Join(f.module, "bin", "tidemark")
	}
	if f.out == "" {
		f.out = filepath.Join(f.module, "bin", "bench")
	}
	return f, nil
}

// chosen are the numbers of the measures to do.
func (f runFlags) chosen() ([]int, error) {
	if f.only == "" {
		return nil, nil
	}
	var numbers []int
	for text := range strings.SplitSeq(f.only, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("-only %s: %w", f.only, err)
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

// measureAll is bench run.
func measureAll(args []string) error {
	f, err := parseFlags(args)
	if err != nil {
		return err
	}
	chosen, err := f.chosen()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, f.patience)
	defer cancel()
	b, err := f.bench()
	if err != nil {
		return err
	}
	failed := repeat(ctx, b, chosen, f.repeat)
	b.Run.Lasted = time.Since(b.Run.Taken)
	return errors.Join(failed, report.Save(os.Stdout, b.Run, f.out, f.plots), b.Run.Failed())
}

// bench finds out what can be measured.
func (f runFlags) bench() (*measure.Bench, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	b := &measure.Bench{
		Run: &result.Run{Taken: time.Now(), Machine: result.ThisMachine(), Versions: make(map[string]string)},
		Log: os.Stderr, Self: self, Module: f.module, Small: f.small,
		Tidemark: system.NewTidemark(f.program), Floor: system.NewFloor(self),
	}
	if b.Run.Versions[result.Tidemark], err = b.Tidemark.Version(); err != nil {
		return nil, err
	}
	if b.Run.Versions["redis"], err = system.RedisVersion(); err != nil {
		return nil, err
	}
	if f.peers {
		f.addPeers(b)
	}
	return b, nil
}

// addPeers adds the peers that are installed, and says which are not.
func (f runFlags) addPeers(b *measure.Bench) {
	peer := filepath.Join(f.module, "bench", "peers", "socketio")
	for _, s := range []system.System{system.NewNchan(), system.NewSocketIO(peer)} {
		version, err := s.Version()
		if err != nil {
			b.Run.Notes = append(b.Run.Notes, fmt.Sprintf("%s was not measured: %v", s.Name(), err))
			continue
		}
		b.Run.Versions[s.Name()] = version
		b.Peers = append(b.Peers, s)
	}
}

// repeat does the measures that are chosen, all if none is. What fails is told in
// the end, and in the run's notes.
func repeat(ctx context.Context, b *measure.Bench, chosen []int, times int) error {
	var errs []error
	for _, m := range measure.Measures {
		repetitions := times
		if m.Once {
			repetitions = 1
		}
		for range repetitions {
			if chosen != nil && !slices.Contains(chosen, m.Number) || ctx.Err() != nil {
				continue
			}
			if err := m.Do(b, ctx); err != nil {
				fmt.Fprintln(os.Stderr, "bench:", err)
				b.Run.Notes = append(b.Run.Notes, fmt.Sprintf("measure %d failed: %v", m.Number, err))
				errs = append(errs, fmt.Errorf("measure %d: %w", m.Number, err))
			}
		}
	}
	return errors.Join(append(errs, ctx.Err())...)
}
