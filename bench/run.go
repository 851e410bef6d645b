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

// runFlags holds the flags of "bench run".
type runFlags struct {
	module  string
	program string
	out     string
	plots   string
	only    string
	peers   bool
	repeat  int
	small   bool
	limit   time.Duration
}

func parseFlags(args []string) (f runFlags, err error) {
	set := flag.NewFlagSet("bench run", flag.ContinueOnError)
	set.StringVar(&f.module, "module", ".", "`directory` of Tidemark's Go module")
	set.StringVar(&f.program, "tidemark", "", "`path` of the tidemark program to measure (default: bin/tidemark in the module)")
	set.StringVar(&f.out, "out", "", "write the results to `path`.json and path.md (default: bin/bench in the module)")
	set.StringVar(&f.plots, "plots", "", "`directory` for the plots; without it no plots are drawn")
	set.StringVar(&f.only, "only", "", "comma-separated `numbers` of the measures to run, for example 1,3; without it all are run")
	set.BoolVar(&f.peers, "peers", true, "also measure the peers that are installed: nchan and Socket.IO")
	set.IntVar(&f.repeat, "repeat", 3, "repetitions of each measure; the report shows medians")
	set.BoolVar(&f.small, "small", false, "quick check that every measure works: a few clients and a fraction of a second each; the reported values mean nothing")
	set.DurationVar(&f.limit, "limit", time.Hour, "stop the run after this time")
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

// measures returns the numbers of the measures to run, or nil for all.
func (f runFlags) measures() ([]int, error) {
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

// runMeasures executes "bench run".
func runMeasures(args []string) error {
	f, err := parseFlags(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil // parseFlags has printed the flags
	}
	if err != nil {
		return err
	}
	chosen, err := f.measures()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, f.limit)
	defer cancel()
	b, err := f.newBench()
	if err != nil {
		return err
	}
	failed := runAll(ctx, b, chosen, f.repeat)
	b.Run.Lasted = time.Since(b.Run.Taken)
	return errors.Join(failed, report.Save(os.Stdout, b.Run, f.out, f.plots), b.Run.Failed())
}

// newBench collects the versions and the installed systems.
func (f runFlags) newBench() (*measure.Bench, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	b := &measure.Bench{
		Run: &result.Run{Taken: time.Now(), Machine: result.ThisMachine(), Versions: make(map[string]string)},
		Log: os.Stderr, Self: self, Module: f.module, Small: f.small,
		Tidemark: system.NewTidemark(f.program), BareWrites: system.NewBareWrites(self),
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

// addPeers adds the installed peers, and a note to the run for each missing one.
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

// runAll runs the chosen measures, or all if chosen is nil. It continues after an
// error, adds it to the run's notes, and returns all errors at the end.
func runAll(ctx context.Context, b *measure.Bench, chosen []int, times int) error {
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
