#!/usr/bin/env node
// The program: hands its arguments to the commands and their exit code to the shell.
import { main } from '../lib/commands/main.ts';

process.exitCode = await main(process.argv.slice(2));
