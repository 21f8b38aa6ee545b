module edgewise.dev/lab/pause

go 1.24
