package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// helpCommand is Cobra's own, except that a topic which does not exist is an error.
func (a *app) helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]",

		DisableFlagsInUseLine: true,

		Short: "Explain a command",
		Args:  cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, c := range root.Commands() {
				if c.IsAvailableCommand() {
					names = append(names, c.Name()+"\t"+c.Short)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return root.Help()
			}
			for _, c := range root.Commands() {
				if c.Name() == args[0] {
					c.InitDefaultHelpFlag() // so that the help shows it
					return c.Help()
				}
			}
			return unknownCommand(root, args[0])
		},
	}
}

// unknownCommand is the error for a command that does not exist.
func unknownCommand(root *cobra.Command, name string) error {
	err := fmt.Errorf("unknown command %q", name)
	if names := root.SuggestionsFor(name); len(names) > 0 {
		return suggested(err, "driftdb ", names)
	}
	return usage(hinted{err, "driftdb help lists the commands"})
}

// suggested adds the names that may have been meant to a usage error.
func suggested(err error, before string, names []string) error {
	if len(names) == 0 {
		return usage(err)
	}
	hint := "did you mean "
	for i, name := range names {
		if i > 0 {
			hint += " or "
		}
		hint += before + name
	}
	return usage(hinted{err, hint + "?"})
}

// flagError suggests flags for one that does not exist. Cobra compares names of commands, so
// the flags pose as commands.
func flagError(c *cobra.Command, err error) error {
	missing, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok || len(missing.GetSpecifiedShortnames()) > 0 {
		return err
	}
	flags := &cobra.Command{SuggestionsMinimumDistance: suggestDistance}
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			flags.AddCommand(&cobra.Command{Use: f.Name, Run: func(*cobra.Command, []string) {}})
		}
	})
	return suggested(err, "--", flags.SuggestionsFor(missing.GetSpecifiedName()))
}

// suggestDistance is how many letters may be wrong in a name for which another is suggested.
const suggestDistance = 2
