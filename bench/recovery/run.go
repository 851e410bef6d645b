package recovery

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tidemark/tidemark/bench/result"
	"github.com/tidemark/tidemark/bench/system"
)

// flags holds the flags of "bench recovery".
type flags struct {
	module     string
	tidemark   string
	centrifugo string
	document   string
	out        string
	only       string
	systems    string
	clients    int
	keep       bool
}

func parseFlags(args []string) (f flags, err error) {
	set := flag.NewFlagSet("bench recovery", flag.ContinueOnError)
	set.StringVar(&f.module, "module", ".", "`directory` of Tidemark's Go module")
	set.StringVar(&f.tidemark, "tidemark", "", "`path` of the tidemark program (default: bin/tidemark in the module)")
	set.StringVar(&f.centrifugo, "centrifugo", "centrifugo", "`path` of the centrifugo program")
	set.StringVar(&f.document, "document", "", "write the tables into this `file`, between its markers")
	set.StringVar(&f.out, "out", "", "write the results to this `file` (default: bin/recovery.json in the module)")
	set.StringVar(&f.only, "only", "", "comma-separated `numbers` of the trials to run; without it all are run")
	set.StringVar(&f.systems, "systems", "tidemark,centrifugo,nchan,socketio", "comma-separated `names` of the systems")
	set.IntVar(&f.clients, "clients", 50, "clients per trial")
	set.BoolVar(&f.keep, "keep", false, "keep the results in the output file that this run does not replace")
	if err := set.Parse(args); err != nil {
		return f, err
	}
	if f.tidemark == "" {
		f.tidemark = filepath.Join(f.module, "bin", "tidemark")
	}
	if f.out == "" {
		f.out = filepath.Join(f.module, "bin", "recovery.json")
	}
	return f, nil
}

// Run executes "bench recovery". It fails if a trial could not be run, or if Tidemark
// lost, repeated or reordered an event without telling the client.
func Run(args []string) error {
	f, err := parseFlags(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil // parseFlags has printed the flags
	}
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	packages := filepath.Join(f.module, "bench", "recovery", "node")
	if err := installPackages(packages); err != nil {
		return err
	}
	peers := []peer{tidemark{f.tidemark}, centrifugo{absolute(f.centrifugo)}, nchan{}, socketio{packages}}
	report, err := f.newReport(peers, packages)
	if err != nil {
		return err
	}
	failed := f.runAll(ctx, report, peers, packages)
	if err := report.save(f.out); err != nil {
		return err
	}
	tables := report.markdown(peers)
	fmt.Print(tables)
	if f.document != "" {
		failed = errors.Join(failed, writeInto(f.document, tables))
	}
	return failed
}

// absolute returns the absolute path of a program, which may be a name on the PATH. It
// returns a program that does not exist unchanged.
func absolute(program string) string {
	found, err := exec.LookPath(program)
	if err != nil {
		return program
	}
	path, err := filepath.Abs(found)
	if err != nil {
		return program
	}
	return path
}

// newReport collects the versions. With -keep it also loads the earlier results.
func (f flags) newReport(peers []peer, packages string) (*Report, error) {
	r := &Report{Taken: time.Now(), Machine: result.ThisMachine().String(), Clients: f.clients, Versions: make(map[string]string)}
	if f.keep {
		if err := r.load(f.out); err != nil {
			return nil, err
		}
	}
	var err error
	if r.Versions["redis"], err = system.RedisVersion(); err != nil {
		return nil, err
	}
	if r.Versions["clients"], err = clientVersions(packages); err != nil {
		return nil, err
	}
	for _, p := range peers {
		version, err := p.version()
		if err != nil {
			version = "not installed"
			for _, t := range trials {
				r.set(Result{Trial: t.number, System: p.name(), Error: "not installed"})
			}
		}
		r.Versions[p.name()] = version
	}
	return r, nil
}

// runAll runs the chosen trials on the chosen systems that are installed. It continues
// after an error.
func (f flags) runAll(ctx context.Context, r *Report, peers []peer, packages string) error {
	only, systems := strings.Split(f.only, ","), strings.Split(f.systems, ",")
	var errs []error
	for _, t := range trials {
		for _, p := range peers {
			chosen := (f.only == "" || slices.Contains(only, strconv.Itoa(t.number))) && slices.Contains(systems, p.name())
			if !chosen || r.Versions[p.name()] == "not installed" || ctx.Err() != nil {
				continue
			}
			fmt.Fprintf(os.Stderr, "trial %d, %s: ", t.number, p.title())
			outcome := runTrial(ctx, t, p, packages, f.clients)
			r.set(outcome)
			fmt.Fprintf(os.Stderr, "%s; %d publishes repeated\n", r.cell(t.number, p.name()), outcome.Retries)
			errs = append(errs, verdict(t, p, outcome), r.save(f.out))
		}
	}
	return errors.Join(append(errs, ctx.Err())...)
}

// verdict returns an error if a trial could not be run, or if Tidemark broke a guarantee.
func verdict(t trial, p peer, outcome Result) error {
	if outcome.Error != "" {
		return fmt.Errorf("trial %d, %s: %s", t.number, p.title(), outcome.Error)
	}
	if p.name() != "tidemark" {
		return nil
	}
	for _, g := range outcome.Groups {
		if g.Untold+g.Repeated+g.OutOfOrder > 0 {
			return fmt.Errorf("trial %d: Tidemark broke a guarantee: %+v", t.number, g.Count)
		}
	}
	return nil
}

// runTrial starts Redis, nodes and clients, runs the trial, and counts.
func runTrial(ctx context.Context, t trial, p peer, packages string, clients int) (outcome Result) {
	outcome = Result{Trial: t.number, System: p.name()}
	if t.clients > 0 {
		clients = min(clients, t.clients)
	}
	names := t.groups
	if names == nil {
		names = []string{""}
	}
	sizes := make([]int, len(names))
	for i := range sizes {
		sizes[i] = clients / len(names)
	}
	err := inDir(func(dir string) error {
		s, err := newStage(ctx, p, packages, dir, t.history, sizes...)
		if err != nil {
			return err
		}
		defer s.close()
		if err := t.run(ctx, s); err != nil {
			return err
		}
		outcome.Retries = s.publisher.retries
		for i, g := range s.groups {
			outcome.Groups = append(outcome.Groups, Group{Name: names[i], Count: g.count(s.publisher.sent), Notes: g.describe()})
		}
		return nil
	})
	if err != nil {
		outcome.Error = err.Error()
	}
	return outcome
}
