// Command mkguest builds the protection guest: it compiles protguest, fetches
// Debian's kernel and packs both. What is there already is not made again.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"bumpless/image/build"
)

func main() {
	cache := flag.String("cache", "out/cache", "folder for what is fetched and built")
	flag.Parse()
	if err := run(*cache); err != nil {
		fmt.Fprintln(os.Stderr, "mkguest:", err)
		os.Exit(1)
	}
}

func run(cache string) error {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	program := filepath.Join(cache, "protguest")
	compile := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "./appliance/testbed/protguest")
	compile.Env = append(os.Environ(), "CGO_ENABLED=0")
	compile.Stdout, compile.Stderr = os.Stdout, os.Stderr
	if err := compile.Run(); err != nil {
		return fmt.Errorf("compile protguest: %w", err)
	}
	artifacts, err := build.Guest(context.Background(), build.Options{CacheDir: cache, Init: program,
		Progress: func(step string) { fmt.Println("mkguest:", step) }})
	if err != nil {
		return err
	}
	fmt.Println(artifacts.Kernel)
	fmt.Println(artifacts.Initrd)
	return nil
}
