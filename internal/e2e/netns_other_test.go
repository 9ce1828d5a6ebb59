//go:build !linux

package e2e

import "errors"

func inNamespace(string, func() error) error {
	return errors.New("network namespaces are of Linux")
}
