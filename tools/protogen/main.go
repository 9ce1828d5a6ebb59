// Command protogen writes the Go code of the .proto files named by its
// arguments beside them. It is protoc in one small program, so that a pinned
// go.mod is all that generating needs:
//
//	go -C tools/protogen run . ../../internal/metadata/metadatapb/metadata.proto
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/pluginpb"
)

func main() {
	for _, path := range os.Args[1:] {
		if err := generate(path); err != nil {
			fmt.Fprintf(os.Stderr, "protogen: %s: %v\n", path, err)
			os.Exit(1)
		}
	}
}

func generate(path string) error {
	dir, file := filepath.Split(path)
	compiler := protocompile.Compiler{
		Resolver:       &protocompile.SourceResolver{ImportPaths: []string{dir}},
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	compiled, err := compiler.Compile(context.Background(), file)
	if err != nil {
		return err
	}
	request := &pluginpb.CodeGeneratorRequest{
		FileToGenerate: []string{file},
	}
	for _, f := range compiled {
		request.ProtoFile = append(request.ProtoFile, protodesc.ToFileDescriptorProto(f))
	}
	if err := run(dir, "protoc-gen-go", "paths=source_relative", request); err != nil {
		return err
	}
	if compiled[0].Services().Len() == 0 {
		return nil
	}
	return run(dir, "protoc-gen-connect-go", "paths=source_relative,simple", request)
}

// run runs a plugin of protoc and writes what it answers.
func run(dir, name, parameter string, request *pluginpb.CodeGeneratorRequest) error {
	request.Parameter = &parameter
	input, err := proto.Marshal(request)
	if err != nil {
		return err
	}
	plugin := exec.Command("go", "tool", name)
	plugin.Stdin, plugin.Stderr = bytes.NewReader(input), os.Stderr
	output, err := plugin.Output()
	if err != nil {
		return err
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(output, &response); err != nil {
		return err
	}
	if response.Error != nil {
		return fmt.Errorf("%s", *response.Error)
	}
	for _, f := range response.File {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(f.GetName())), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, f.GetName()), []byte(f.GetContent()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
