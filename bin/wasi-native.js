#!/usr/bin/env node
'use strict';

require('../dist/native.js')('cli/index').main(process.argv);
