(module
  (func $callee (param i32) (result i32) (local.get 0))
  (func (param i32) (result i32) (i32.add (call $callee (local.get 0)) (i32.const 1))))

;; Expected:
;; function 0
;; function u0:0(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32):
;; @001c                               return v1
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;; block0:
;;   movq %rsi, %rax
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
;;
;; function 1
;; function u0:1(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32):
;; @80000000                           jump block2(v1)
;;
;;                                 block2(v3: i32):
;; @0023                               v4 = iconst.i32 1
;; @0025                               v5 = iadd v3, v4  ; v4 = 1
;; @0026                               return v5
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;; block0:
;;   jmp     label1
;; block1:
;;   leal 1(%rsi), %eax
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
