package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// helpColumns is how wide help texts are.
const helpColumns = 80

// usage prints how a command is used: its own flags, then, at the root, the
// settings that every command has.
func usage(cmd *cobra.Command) error {
	var b strings.Builder
	b.WriteString("Usage:\n")
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "  %s COMMAND\n", cmd.CommandPath())
	} else {
		fmt.Fprintf(&b, "  %s\n", cmd.UseLine())
	}
	if cmd.HasExample() {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", cmd.Example)
	}
	if cmd.HasAvailableSubCommands() {
		b.WriteString("\nCommands:\n")
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				fmt.Fprintf(&b, "  %-14s%s\n", c.Name(), c.Short)
			}
		}
	}
	flagList(&b, "Flags", cmd.LocalNonPersistentFlags())
	if cmd.HasParent() {
		fmt.Fprintf(&b, "\nSettings: --config, --kafka.brokers, --redis.addrs … see %s --help\n", cmd.Root().Name())
	} else {
		flagList(&b, "Settings (more: config.sample.yml)", cmd.PersistentFlags())
	}
	_, err := io.WriteString(cmd.OutOrStderr(), b.String())
	return err
}

// flagList describes flags below one another, in two columns.
func flagList(b *strings.Builder, title string, set *pflag.FlagSet) {
	var names, texts []string
	widest := 0
	set.SortFlags = false // they come in the order that their command wants
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		name, text := flagTexts(f)
		names, texts = append(names, name), append(texts, text)
		widest = max(widest, len(name))
	})
	if len(names) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s:\n", title)
	indent := "\n" + strings.Repeat(" ", widest+4)
	for i, name := range names {
		lines := Wrap(texts[i], helpColumns-widest-4)
		fmt.Fprintf(b, "  %-*s  %s\n", widest, name, strings.Join(lines, indent))
	}
}

func flagTexts(f *pflag.Flag) (name, text string) {
	kind, text := pflag.UnquoteUsage(f)
	name = "    --" + f.Name
	if f.Shorthand != "" {
		name = "-" + f.Shorthand + ", --" + f.Name
	}
	if f.Value.Type() != "bool" {
		name += " " + strings.ToUpper(kind)
	}
	switch f.DefValue {
	case "", "0", "false", "[]":
	default:
		text += fmt.Sprintf(" (default %s)", f.DefValue)
	}
	return name, text
}
