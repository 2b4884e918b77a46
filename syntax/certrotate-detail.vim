" A detail: a name and a value a line.
if exists("b:current_syntax")
  finish
endif
runtime! syntax/certrotate.vim

syntax match certrotateLabel /^\%(  \)\?\S\+\%( \S\+\)*\ze  /

highlight default link certrotateLabel Label
