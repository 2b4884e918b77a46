" What every page of certrotate has: references, ids, dates, states, the line of keys.
if exists("b:current_syntax")
  finish
endif

syntax match certrotateReference /\<arn:aws[a-z-]*:[^ ,]*/
syntax match certrotateReference /\<ASCA[A-Z0-9]\{12,}\>/
syntax match certrotateId /\<E[A-Z0-9]\{9,}\>/
syntax match certrotateDate /\<\d\{4}-\d\d-\d\d\>\%( \d\d:\d\d:\d\d UTC\)\?/
syntax match certrotateTime /^\d\{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/
syntax match certrotateGood /\<\%(Deployed\|done\|trusted\|as expected\)\>/
syntax match certrotateWarn /\<\%(InProgress\|disabled\|expired\|staging\|already done\)\>/
syntax match certrotateBad /\<\%(NOT\|failed\|not trusted\|Not complete\|stopped\|interrupted\|Interrupted\|left alone\|Left alone\)\>/
syntax match certrotateCharge /dedicated IP\|\$\d[0-9,]*\.\d\+/
syntax match certrotateHead /^\%(STORE\|WAVE\|      ID \).*/
syntax match certrotateWarning /^Warning:.*/
syntax match certrotateNote /^Note:/
syntax match certrotateCommand /:CertRotate\%( \a\+\)\?/
" The second line of an inventory, the first of other pages.
syntax match certrotateKeys /^\%(<CR>\|a apply\|r resume\|R look\) .*/ contains=certrotateKey
syntax match certrotateKey /\%(^\|   \)\@<=\%(<CR>\|za\|g?\|[aPRrLq]\) \@=/ contained

highlight default link certrotateReference Identifier
highlight default link certrotateId Identifier
highlight default link certrotateDate Number
highlight default link certrotateTime Number
highlight default link certrotateGood String
highlight default link certrotateWarn Todo
highlight default link certrotateBad ErrorMsg
highlight default link certrotateCharge Special
highlight default link certrotateHead Title
highlight default link certrotateWarning WarningMsg
highlight default link certrotateNote Todo
highlight default link certrotateCommand Statement
highlight default link certrotateKeys Comment
highlight default link certrotateKey SpecialComment

let b:current_syntax = "certrotate"
