" The page of :CertRotate inventory.
runtime! syntax/certrotate.vim
