" The page of :CertRotate plan.
if exists("b:current_syntax")
  finish
endif
runtime! syntax/certrotate.vim

syntax match certrotateLabel /^\%(Replace\|with\|in\|Plan\|Overlap\|Left out\|No charge\)\>/
syntax match certrotateWave /^Wave \d\+:/
syntax match certrotateState /^\%(Being carried out\|Carried out\|Not carried out\).*/ contains=certrotateCommand

highlight default link certrotateLabel Label
highlight default link certrotateWave Label
highlight default link certrotateState Todo
