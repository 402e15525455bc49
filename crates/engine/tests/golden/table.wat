(module
  (table 4 externref)
  (func (param i32) (result externref) (table.get (local.get 0)))
  (func (param i32 externref) (table.set (local.get 0) (local.get 1))))

;; Expected:
;; function 0
;; function u0:0(i64 vmctx, i32) -> i64 tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32):
;; @0027                               v3 = uextend.i64 v1
;; @0027                               v4 = load.i64 notrap aligned region1 v0+32
;; @0027                               v5 = load.i64 notrap aligned region1 v0+40
;; @0027                               v6 = icmp uge v3, v5
;; @0027                               trapnz v6, user3
;; @0027                               v7 = iconst.i64 3
;; @0027                               v8 = ishl v3, v7  ; v7 = 3
;; @0027                               v9 = iadd v4, v8
;; @0027                               v10 = select_spectre_guard v6, v4, v9
;; @0027                               v11 = load.i64 notrap aligned region1 v10
;; @0029                               return v11
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;; block0:
;;   movq 0x20(%rdi), %r8
;;   movq 0x28(%rdi), %r9
;;   movl %esi, %r10d
;;   cmpq %r9, %r10
;;   jnb #trap=user3
;;   leaq (%r8, %r10, 8), %r11
;;   cmpq %r9, %r10
;;   cmovaeq %r8, %r11
;;   movq (%r11), %rax
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
;;
;; function 1
;; function u0:1(i64 vmctx, i32, i64) tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32, v2: i64):
;; @0030                               v3 = uextend.i64 v1
;; @0030                               v4 = load.i64 notrap aligned region1 v0+32
;; @0030                               v5 = load.i64 notrap aligned region1 v0+40
;; @0030                               v6 = icmp uge v3, v5
;; @0030                               trapnz v6, user3
;; @0030                               v7 = iconst.i64 3
;; @0030                               v8 = ishl v3, v7  ; v7 = 3
;; @0030                               v9 = iadd v4, v8
;; @0030                               v10 = select_spectre_guard v6, v4, v9
;; @0030                               store notrap aligned region1 v2, v10
;; @0032                               return
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;; block0:
;;   movq 0x20(%rdi), %r8
;;   movq 0x28(%rdi), %r9
;;   movl %esi, %r10d
;;   cmpq %r9, %r10
;;   jnb #trap=user3
;;   leaq (%r8, %r10, 8), %r11
;;   cmpq %r9, %r10
;;   cmovaeq %r8, %r11
;;   movq %rdx, (%r11)
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
