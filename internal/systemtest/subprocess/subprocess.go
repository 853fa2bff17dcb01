// Package subprocess runs functions of a test in separate processes, which can be killed,
// stopped, measured or limited. Such a process runs the test binary again; an environment
// variable tells it which function to run.
//
//	var writes = subprocess.Register("writes", func(t testing.TB, args []string) { … })
//
//	func TestMain(m *testing.M) { subprocess.Main(); os.Exit(m.Run()) }
//
//	cmd := writes.Command(t.Context(), path)
package subprocess

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync/atomic"
	"testing"
)

const variable = "DRIFTDB_TEST_SUBPROCESS"

// A Func is the name of a registered function.
type Func string

var functions = map[Func]func(t testing.TB, args []string){}

// Register makes a function available to Command. Call it when the package is initialized,
// because every process of the test binary must know the function.
func Register(name Func, run func(t testing.TB, args []string)) Func {
	if functions[name] != nil {
		panic("there are two functions " + name)
	}
	functions[name] = run
	return name
}

// Command returns a process that runs the function with these arguments.
func (f Func) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = f.Environ()
	return cmd
}

// Environ returns the environment in which the test binary runs the function, for a
// process that another program starts. The arguments are the binary's.
func (f Func) Environ() []string { return append(os.Environ(), f.Variable()) }

// Variable returns the variable that Environ adds.
func (f Func) Variable() string { return variable + "=" + string(f) }

// Main must be the first call in a package's TestMain. In a process that runs a function,
// it runs it and ends the process, with 0 if nothing has failed. In any other process it
// does nothing.
func Main() {
	name, ok := os.LookupEnv(variable)
	if !ok {
		return
	}
	run := functions[Func(name)]
	if run == nil {
		fmt.Fprintf(os.Stderr, "%s=%s: there is no such function in this test binary\n", variable, name)
		os.Exit(2)
	}
	_ = os.Unsetenv(variable)
	t := &process{name: name}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	run(t, os.Args[1:])
	t.exit()
}

// process is the testing.TB that a function gets. A failure ends the process, or makes it
// exit with 1. Functions may call only the methods that are defined here.
type process struct {
	testing.TB
	name     string
	ctx      context.Context
	cancel   context.CancelFunc
	cleanups []func()
	failed   atomic.Bool
}

func (p *process) Helper()                  {}
func (p *process) Name() string             { return p.name }
func (p *process) Context() context.Context { return p.ctx }
func (p *process) Cleanup(f func())         { p.cleanups = append(p.cleanups, f) }
func (p *process) Failed() bool             { return p.failed.Load() }
func (p *process) Fail()                    { p.failed.Store(true) }

func (p *process) Log(args ...any)                 { fmt.Fprintln(os.Stderr, args...) }
func (p *process) Logf(format string, args ...any) { p.Log(fmt.Sprintf(format, args...)) }

func (p *process) Error(args ...any)                 { p.Log(args...); p.Fail() }
func (p *process) Errorf(format string, args ...any) { p.Error(fmt.Sprintf(format, args...)) }

func (p *process) FailNow()                          { p.Fail(); p.exit() }
func (p *process) Fatal(args ...any)                 { p.Log(args...); p.FailNow() }
func (p *process) Fatalf(format string, args ...any) { p.Fatal(fmt.Sprintf(format, args...)) }

// TempDir is removed when the process ends, unless the process is killed.
func (p *process) TempDir() string {
	dir, err := os.MkdirTemp("", "driftdb-test-")
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			p.Error(err)
		}
	})
	return dir
}

// exit runs the cleanups, as the end of a test does.
func (p *process) exit() {
	p.cancel()
	for len(p.cleanups) > 0 {
		last := len(p.cleanups) - 1
		cleanup := p.cleanups[last]
		p.cleanups = slices.Delete(p.cleanups, last, last+1)
		cleanup()
	}
	if p.failed.Load() {
		os.Exit(1)
	}
	os.Exit(0)
}
