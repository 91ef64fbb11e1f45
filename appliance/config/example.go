package config

import _ "embed"

// Example is a site file that loads, with a comment for each choice.
//
//go:embed example.yaml
var Example []byte
