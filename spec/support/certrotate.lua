-- The command, without an installed launcher: lua spec/support/certrotate.lua ARGUMENTS
os.exit(require("certrotate.cli").main(arg), true)
