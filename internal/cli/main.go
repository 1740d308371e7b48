package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Main runs a program and ends the process. Ctrl-C and SIGTERM end the
// command's context; the second one ends the process at once.
func Main(build func(*IO) *cobra.Command) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	code := Run(ctx, System(), build, os.Args[1:])
	stop()
	os.Exit(int(code))
}

// Run runs a program with arguments and returns its exit status. What went
// wrong is on std.Err by then.
func Run(ctx context.Context, std *IO, build func(*IO) *cobra.Command, args []string) Code {
	root := build(std)
	root.SetArgs(append([]string{}, args...)) // nil would mean those of the process
	root.SetIn(std.In)
	root.SetOut(std.Out)
	root.SetErr(std.Err)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.Version = version()
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetUsageFunc(usage)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return Usage("%w", err) })
	command, err := root.ExecuteContextC(ctx)
	if exit, ok := errors.AsType[*ExitError](err); err != nil && (!ok || exit.Err != nil) {
		tell(ctx, std, command, err)
	}
	return codeOf(err)
}

// tell prints what went wrong, and where help is.
func tell(ctx context.Context, std *IO, command *cobra.Command, err error) {
	name, _, _ := strings.Cut(command.CommandPath(), " ")
	_, ours := errors.AsType[*usageError](err)
	switch {
	case ours:
		path := command.CommandPath()
		fmt.Fprintf(std.Err, "%s: %s\n%s --help tells how it is used.\n", path, CleanLines(err.Error()), path)
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintf(std.Err, "%s: stopped\n", name)
	default:
		fmt.Fprintf(std.Err, "%s: %s\n", name, CleanLines(Explain(err)))
	}
}

// Group is a command that only holds others.
func Group(use, short string, commands ...*cobra.Command) *cobra.Command {
	group := &cobra.Command{
		Use: use, Short: short,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			meant := ""
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				meant = fmt.Sprintf(": did you mean %s?", strings.Join(near, " or "))
			}
			return Usage("no command %q%s", args[0], meant)
		},
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SuggestionsMinimumDistance: 2,
	}
	group.AddCommand(commands...)
	return group
}

// version is that of the module, with the commit when it was built from one.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(unknown version)"
	}
	return info.Main.Version
}
