" The page of :CertRotate status.
runtime! syntax/certrotate.vim
