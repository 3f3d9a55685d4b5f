package machine

import (
	"io/fs"
	"path/filepath"
)

// Cgroups lists the directories of a place and all below it in every hierarchy, as they are now.
func Cgroups(place string) (dirs []string, err error) {
	all, err := hierarchies()
	if err != nil {
		return nil, err
	}
	for _, h := range all {
		_ = filepath.WalkDir(filepath.Join(h.dir, place), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() { // what ends meanwhile is not there
				dirs = append(dirs, path)
			}
			return nil
		})
	}
	return dirs, nil
}
