package testbed

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"bumpless/iec61850/ether"

	"golang.org/x/sys/unix"
)

// What a process that was started from this binary is to be.
const (
	roleVariable = "BUMPLESS_TESTBED_ROLE"
	roleFabric   = "fabric"
	roleProbe    = "probe"
	roleHost     = "host"
)

const fabricFlags = syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC

// Enter moves the program into the namespaces of a test bed: it runs the
// program again there and exits with its status. In there it returns. It must
// be called first in main or TestMain, since the hosts of a bed begin there too.
//
// A user namespace is used where the kernel allows one, so that nothing needs
// root; otherwise root is needed.
func Enter() {
	switch role := os.Getenv(roleVariable); role {
	case roleHost:
		superviseHost()
		os.Exit(0)
	case roleProbe, roleFabric:
		os.Unsetenv(roleVariable)
		err := settle("")
		if role == roleProbe {
			os.Exit(map[bool]int{true: 0, false: 1}[err == nil])
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "test bed:", err)
			os.Exit(1)
		}
		return
	}
	status, err := enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, "test bed:", err)
		status = 1
	}
	os.Exit(status)
}

func enter() (int, error) {
	if user := again(roleProbe, true); user.Run() == nil {
		return follow(again(roleFabric, true))
	}
	if os.Getuid() != 0 {
		return 1, errors.New("this kernel allows no user namespaces (sysctl kernel.unprivileged_userns_clone or kernel.apparmor_restrict_unprivileged_userns?): run it as root")
	}
	return follow(again(roleFabric, false))
}

// again is this program, to be run in new namespaces.
func again(role string, userNamespace bool) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	if role == roleFabric {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: fabricFlags, Pdeathsig: syscall.SIGKILL}
	if userNamespace {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return cmd
}

// follow runs the program and passes signals on; as process 1 of its namespace
// it takes everything with it when it ends.
func follow(cmd *exec.Cmd) (int, error) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("enter namespaces: %w", err)
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s) // it may have ended
		}
	}()
	err := cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// settle makes new namespaces usable: own mounts, own /proc, loopback up.
func settle(hostname string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if hostname != "" {
		if err := unix.Sethostname([]byte(hostname)); err != nil {
			return fmt.Errorf("set the host name: %w", err)
		}
	}
	return ether.Up("lo")
}
