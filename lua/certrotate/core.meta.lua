---@meta certrotate.core
-- Types and texts of the C module: the one source of its documentation. A test fails when a name of the
-- module is missing here.

--- Signing, transfers, certificates and rotation steps. Loading it does no I/O and keeps no state.
---@class certrotate.core
---@field VERSION string            version of the module, "0.1.0"
---@field error_metatable table     metatable of every error value (`__tostring`, `__name = "certrotate.Error"`)
local core = {}

---@class certrotate.Error
---@field kind "input"|"credentials"|"transport"|"timeout"|"service"|"parse"|"conflict"|"policy"|"cancelled"|"memory"
---@field code string        stable; AWS's own where AWS said it, "CURLE_…" from libcurl, else ours
---@field message string     one line, says what to do, no secrets
---@field operation? string  "cloudfront:UpdateDistribution", "step:swap"
---@field status? integer    HTTP status
---@field request_id? string
---@field retryable boolean
---@field ambiguous boolean  a write may have taken effect: read back before repeating it
---@field cause? certrotate.Error
---@field facts? table       retire: what held and what did not

---@class certrotate.SignRequest
---@field method string
---@field url string                                   as sent on the wire, already percent-encoded once
---@field headers? table<string,string>|{[1]:string,[2]:string}[]  ordered list of pairs, or a map
---@field body? string
---@field payload_hash? string                         instead of body: lower-case hex or "UNSIGNED-PAYLOAD"
---@field service string
---@field region string
---@field access_key_id string
---@field secret_access_key string
---@field session_token? string
---@field omit_session_token? boolean                  send the token without signing it (default false)
---@field time integer                                 Unix seconds
---@field normalize_path? boolean                      default true (S3: false)
---@field double_encode? boolean                       default true (S3: false)
---@field sign_body? boolean                           add x-amz-content-sha256 (default false; S3 needs it)

--- Signs a request with Signature Version 4. Pure: reads no clock, no environment, sends nothing.
--- The derived keys of recent days are cached inside the module instance.
---@param request certrotate.SignRequest
---@return table<string,string>? headers   the headers to add: Authorization, X-Amz-Date, …
---@return {canonical_request:string, string_to_sign:string, signature:string}|certrotate.Error stages
function core.sign(request) end

---@class certrotate.IdentityOptions
---@field certificate? string    path: leaf, with or without chain in any order, PEM, DER or PKCS#12
---@field private_key? string    path; not needed when `certificate` holds the key
---@field chain? string          path
---@field passphrase? string

--- Loads a certificate, its chain and its private key. The key stays in C memory.
---@param options certrotate.IdentityOptions
---@return certrotate.Identity?
---@return certrotate.Error?
function core.identity(options) end

---@class certrotate.CertificateInfo
---@field fingerprint string     SHA-256 of the DER, lower-case hex
---@field subject string
---@field issuer string
---@field serial string          "07:71:…"
---@field not_before integer     Unix seconds
---@field not_after integer
---@field key_type string        "RSA_2048", "EC_prime256v1", …
---@field signature_algorithm string
---@field self_signed boolean
---@field names string[]         DNS names
---@field key_usages? string[]   ACM's spelling; nil when the extension is absent
---@field extended_key_usages? string[]

---@class certrotate.Finding
---@field level "refuse"|"warn"|"note"
---@field code string
---@field message string

---@class certrotate.Identity: userdata
local identity = {}
--- What the certificate says: names, validity, key.
---@return certrotate.CertificateInfo
function identity:leaf() end
--- The certificates between it and its root.
---@return certrotate.CertificateInfo[] chain  without the leaf, without a root
function identity:chain() end
--- SHA-256 of the certificate, in lower-case hexadecimal digits.
---@return string fingerprint
function identity:fingerprint() end
--- The certificate alone, as it is sent to AWS.
---@return string pem
function identity:certificate_pem() end
--- Its chain, as it is sent to AWS.
---@return string pem  "" when there is no chain
function identity:chain_pem() end
--- Whether one of its names covers an alias of a distribution, wildcards on one level.
---@param alias string
---@return boolean
function identity:covers(alias) end
--- Whether a store takes it and CloudFront may present it: key, chain, dates.
---@param options {store:"acm"|"iam", now:integer, trust?:string, roots?:boolean}   roots: false: not whether its root is known
---@return certrotate.Finding[]?
---@return certrotate.Error?
function identity:check(options) end
--- Wipes and releases the key now instead of at collection; using the identity afterwards raises.
function identity:close() end

--- Reads the first certificate of a PEM text.
---@param pem string
---@return certrotate.CertificateInfo?
---@return certrotate.Error?
function core.certificate(pem) end

--- Whether a certificate's DNS name (or one of a list of them) covers an alias, wildcards on one level.
---@param names string|string[]
---@param alias string
---@return boolean
function core.covers(names, alias) end

---@class certrotate.ViewerCertificate
---@field reference string      "" for the default certificate
---@field store "acm"|"iam"|nil
---@field default_certificate boolean
---@field disagree boolean
---@field SSLSupportMethod string
---@field MinimumProtocolVersion string
---@field first integer         1-based position of the element in the text
---@field last integer

--- Reads the ViewerCertificate of a DistributionConfig text as CloudFront sent it.
---@param config string
---@return certrotate.ViewerCertificate?
---@return certrotate.Error?
function core.viewer_certificate(config) end

--- The same text naming `to` where it named `from`; nothing else changes.
---@param config string
---@param from string
---@param to string
---@return string? config        nil with nil error when it already names `to`
---@return certrotate.Error?     kind "conflict", code "ForeignCertificate", when it names neither
function core.swap_viewer_certificate(config, from, to) end

---@class certrotate.ClientOptions
---@field ca_file? string          PEM file of roots instead of the system's
---@field trust? string            PEM file of more roots
---@field proxy? string
---@field no_proxy? string
---@field user_agent? string
---@field max_connections? integer
---@field max_host_connections? integer
---@field connect_timeout? number   seconds
---@field total_timeout? number     seconds, of one attempt
---@field max_body? integer         bytes
---@field allow_http? boolean

--- One engine with its own connections. It must stay in the process that made it.
---@param options? certrotate.ClientOptions
---@return certrotate.Client?
---@return certrotate.Error?
function core.client(options) end

---@class certrotate.Client: userdata
local client = {}

---@class certrotate.AccountOptions
---@field access_key_id? string      all three absent: anonymous until `credentials` is called
---@field secret_access_key? string
---@field session_token? string
---@field expires_at? integer        Unix seconds
---@field endpoints table<string, {url:string, region:string}>   by "acm", "iam", "cloudfront", "sts", "support", "servicequotas", "s3"
---@field max_attempts? integer      of a call, default 3
---@field renewable? boolean         credentials that are missing or end are asked for (`wanted`), and waited for
---@field renew_at? number           see `credentials`
---@field needed_at? number

--- Adds an account calls can be signed for.
---@param options certrotate.AccountOptions
---@return integer? account   handle, valid for this client
---@return certrotate.Error?
function client:account(options) end
---@class certrotate.GivenCredentials
---@field access_key_id string
---@field secret_access_key string
---@field session_token? string
---@field expires_at? integer       Unix seconds, as all the times here, by AWS's clock
---@field renew_at? number          new ones are asked for from then on, while calls go on
---@field needed_at? number         calls wait for new ones from then on
---@field clock_offset? number      seconds AWS's clock is ahead of ours, where whoever had them knows

--- Replaces an account's credentials; requests sent from now on use them, and what waited for them goes on.
---@param account integer
---@param credentials certrotate.GivenCredentials
---@return boolean? ok
---@return certrotate.Error?
function client:credentials(account, credentials) end
--- There are no new credentials: the calls that wait for them fail with this error.
---@param account integer
---@param err certrotate.Error
---@param retry_at? number   when to ask again while the present ones still serve
function client:credentials_failed(account, err, retry_at) end
--- Asks for new credentials as a call that needs them does.
---@param account integer
function client:want(account) end
--- The next account that needs new credentials; told once until it is given them or they fail.
---@return integer? account
function client:wanted() end
--- What the account knows: clock offset in seconds, expiry.
---@param account integer
---@return {clock_offset:number, expires_at?:integer, needed_at?:integer, access_key_id?:string}
function client:account_info(account) end
--- How fast the services that refused calls for their rate are asked now. Other services are not in the list.
---@param account integer
---@return {service:string, writes:boolean, rate:number, accepted:integer, refused:integer, waiting:integer}[]  rate: calls a second
function client:paces(account) end

---@class certrotate.Submission
---@field account? integer           default: the first one
---@field service? string            with `operation`
---@field operation? string          AWS's name: "GetDistributionConfig"
---@field step? "import"|"reimport"|"swap"|"policy"|"settle"|"verify"|"retire"
---@field http? table                { url=, method=, headers=, body=, timeout=, connect_timeout=, max_body=, no_proxy= }
---@field program? table             { arguments=, timeout=, max_output= }: run without a shell; see plugin/core/call.h
---@field params? table              AWS's spelling for operations
---@field identity? certrotate.Identity
---@field view? "holders"            ListDistributions only: flat records of what an inventory needs, see plugin/core/call.h
---@field timeout? number            seconds for the whole operation, retries included

--- Starts an operation, a step or a plain HTTP request. Copies everything; sends nothing yet.
---@param submission certrotate.Submission
---@return integer? id
---@return certrotate.Error?
function client:submit(submission) end
--- Never blocks.
---@return integer running   operations not finished
function client:step() end
--- The only call that may block: up to `seconds` (nil: until something happens), then steps.
---@param seconds? number
---@param fd? integer   another descriptor that ends the wait when readable
---@return integer running
function client:wait(seconds, fd) end
--- The next finished operation.
---@return integer? id       nil: none
---@return table|boolean|nil result   table, or true when the operation has no result
---@return certrotate.Error?
function client:take() end
--- The operation ends with a `cancelled` error, delivered by `take`.
---@param id integer
---@return boolean found
function client:cancel(id) end
--- One descriptor for the client's life: readable when `step` is due.
---@return integer fd
function client:pollfd() end
---@return string events   "r"
function client:events() end
--- Seconds until `step` is due whatever the descriptor says; nil: nothing scheduled.
---@return number?
function client:timeout() end
---@class certrotate.Stats
---@field submitted integer
---@field finished integer
---@field failed integer
---@field cancelled integer
---@field attempts integer
---@field throttled integer
---@field retried integer
---@field connections integer
---@field bytes_received integer
---@field bytes_sent integer
---@field running integer            not finished; of these:
---@field waiting_decode integer     for their JSON
---@field waiting_time integer       for a retry, a settle, a rate limit
---@field in_transfer integer
---@field finished_untaken integer   finished, not taken yet
---@return certrotate.Stats
function client:stats() end
--- The next attempt made since the last asking (at most 1024 are kept): for traces.
---@return {id:integer, operation:string, attempt:integer, status:integer, code:string, request_id:string, elapsed:number, throttled:boolean}?
function client:attempt() end
--- Idempotent; running operations are dropped. Methods raise "client is closed" afterwards.
function client:close() end

---@class certrotate.File: userdata
local file = {}

--- Opens (and creates, mode 0600) a file for durable appending, locked against every other process.
--- A lock held elsewhere is error code "Locked", whose message names the holder's pid where known.
---@param path string
---@return certrotate.File?
---@return certrotate.Error?
function core.append(path) end
--- Writes all of text and returns only when it is on the disk (fdatasync; the directory too on the first write).
---@param text string
---@return boolean? ok
---@return certrotate.Error?
function file:append(text) end
--- The whole content as it is now.
---@return string?
---@return certrotate.Error?
function file:read() end
--- Cuts the file to `size` bytes (a torn last line), durably.
---@param size integer
---@return boolean? ok
---@return certrotate.Error?
function file:truncate(size) end
--- Releases the lock; idempotent.
function file:close() end

--- Writes a whole file durably and atomically (temporary file, fdatasync, rename), mode 0600.
---@param path string
---@param text string
---@return boolean? ok
---@return certrotate.Error?
function core.write_file(path, text) end

---@class certrotate.Signals: userdata
local signals = {}
--- SIGINT and SIGTERM become readable on a descriptor instead of ending the process. Undone by close.
---@return certrotate.Signals?
---@return certrotate.Error?
function core.signals() end
---@return integer fd
function signals:fd() end
--- The next signal that came, or nil; never blocks.
---@return "INT"|"TERM"|nil
function signals:take() end
function signals:close() end

---@return number seconds   Unix time with fractions
function core.now() end
---@return number seconds   monotonic
function core.monotonic() end
---@param text string
---@return string hex
function core.sha256(text) end
--- For file names of the AWS CLI's making; nothing is secured by it.
---@param text string
---@return string hex
function core.sha1(text) end
--- Permission bits of a file; nil when it cannot be looked at.
---@param path string
---@return integer?
function core.file_mode(path) end
--- Makes a folder and every missing one above it, mode 0700; fine when it is there already.
---@param path string
---@return boolean? ok
---@return certrotate.Error?
function core.make_directory(path) end

--- The absolute path of an existing file.
---@param path string
---@return string?
---@return certrotate.Error?
function core.realpath(path) end
--- Columns of the terminal on descriptor 0, 1 or 2; nil when it is none.
---@param fd integer
---@return integer?
function core.terminal(fd) end
--- Every operation there is: { service=, name=, identity=bool, required={…} }.
---@return table[]
function core.operations() end
--- Versions of the libraries in this process: "7.88.1", "3.0.17", "2.5.0".
---@return {curl:string, openssl:string, expat:string}
function core.versions() end

return core
