package config

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/knadh/koanf/parsers/yaml"
	yamlv3 "go.yaml.in/yaml/v3"
)

// maxFileBytes bounds the settings file and the files of secrets.
const maxFileBytes = 1 << 20

// readFile parses a YAML file and tells in which line each key stands.
func readFile(path string) (tree map[string]any, lines map[string]int, err error) {
	raw, err := readSmall(path)
	if err != nil {
		return nil, nil, err
	}
	var document yamlv3.Node
	if err := yamlv3.Unmarshal(raw, &document); err != nil {
		return nil, nil, fmt.Errorf("is no YAML: %w", err)
	}
	if len(document.Content) == 0 { // empty, or comments alone
		return nil, nil, nil
	}
	if document.Content[0].Kind != yamlv3.MappingNode {
		return nil, nil, errors.New("is no settings file: write sections such as kafka and redis")
	}
	if tree, err = yaml.Parser().Unmarshal(raw); err != nil {
		return nil, nil, fmt.Errorf("is no YAML: %w", err)
	}
	lines = map[string]int{}
	number(document.Content[0], nil, lines)
	return tree, lines, nil
}

// number notes the line of every key below a mapping.
func number(mapping *yamlv3.Node, path []string, lines map[string]int) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		name, value := mapping.Content[i], mapping.Content[i+1]
		key := append(slices.Clip(path), name.Value)
		lines[join(key)] = name.Line
		if value.Kind == yamlv3.MappingNode {
			number(value, key, lines)
		}
	}
}

func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot be read: %w", err)
	case info.IsDir():
		return nil, errors.New("is a folder: name a file")
	case info.Size() > maxFileBytes:
		return nil, fmt.Errorf("has %d bytes, at most %d", info.Size(), maxFileBytes)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	return raw, nil
}
