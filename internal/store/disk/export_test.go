package disk

// OpenNamed is Open on a file system that has no files without names.
func OpenNamed(root string) (*Store, error) {
	files, abs, err := openOS(root)
	if err != nil {
		return nil, err
	}
	files.unnamed = false
	return New(files, "file://"+abs), nil
}
