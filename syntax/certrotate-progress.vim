" The window in the corner.
if exists("b:current_syntax")
  finish
endif

syntax match certrotateBar /\[[#.]*\]/ contains=certrotateBarFull
syntax match certrotateBarFull /#\+/ contained
syntax match certrotateDone /\<done\>/
syntax match certrotateStopped /\<\%(stopped\|interrupted\|done, not all\)\>/

highlight default link certrotateBar Comment
highlight default link certrotateBarFull String
highlight default link certrotateDone String
highlight default link certrotateStopped ErrorMsg

let b:current_syntax = "certrotate-progress"
