" The page of :CertRotate verify.
runtime! syntax/certrotate.vim
