" The page of :CertRotate log.
if exists("b:current_syntax")
  finish
endif
runtime! syntax/certrotate.vim

syntax match certrotateWave / \@<=wave \d\+ of \d\+, .*/

highlight default link certrotateWave Title
