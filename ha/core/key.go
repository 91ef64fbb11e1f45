package core

import "strconv"

func key(kind, guest string, epoch uint64) string {
	return kind + "/" + guest + "/" + strconv.FormatUint(epoch, 10)
}
